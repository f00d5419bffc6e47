"""Charges by period: subjects, charges, previews, what is parked, and the triggers that keep them."""

from pathlib import Path

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0012_invoice_guards'),
        ('marketplace', '0022_prices'),
        ('metering', '0009_zones'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ParkedPeriod',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period', django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text='[from, to)')),
                ('reason', models.CharField(choices=[('bound', 'Bound'), ('negative', 'Negative'), ('unknown', 'Unknown'), ('late', 'Late')], max_length=10)),
                ('total_micros', models.DecimalField(decimal_places=0, help_text='the cumulative amount', max_digits=60)),
                ('before_micros', models.BigIntegerField(help_text='what is charged already')),
                ('billed', models.DecimalField(decimal_places=12, max_digits=60)),
                ('digest', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('open', 'Open'), ('approved', 'Approved'), ('refused', 'Refused')], default='open', max_length=10)),
                ('parked_at', models.DateTimeField()),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('note', models.CharField(blank=True, default='', max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='PeriodCharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('meter', models.CharField(max_length=20)),
                ('payer', models.CharField(choices=[('user', 'User'), ('platform', 'Platform')], max_length=8)),
                ('period', django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text='[from, to)')),
                ('zone', models.CharField(max_length=50)),
                ('revision', models.PositiveSmallIntegerField(default=0)),
                ('cutoff', models.DateTimeField()),
                ('raw', models.DecimalField(decimal_places=12, max_digits=42)),
                ('billed', models.DecimalField(decimal_places=12, max_digits=42)),
                ('currency', models.CharField(max_length=3)),
                ('precise', models.DecimalField(decimal_places=12, max_digits=30)),
                ('total_micros', models.BigIntegerField()),
                ('amount_micros', models.BigIntegerField()),
                ('provider_micros', models.BigIntegerField()),
                ('platform_micros', models.BigIntegerField()),
                ('basis_points', models.PositiveSmallIntegerField()),
                ('lines', models.JSONField()),
                ('evidence', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('algorithm', models.CharField(max_length=20)),
                ('rated_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='PeriodPreview',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('meter', models.CharField(max_length=20)),
                ('payer', models.CharField(choices=[('user', 'User'), ('platform', 'Platform')], max_length=8)),
                ('period', django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text='[from, to)')),
                ('billed', models.DecimalField(decimal_places=12, max_digits=42)),
                ('currency', models.CharField(max_length=3)),
                ('total_micros', models.DecimalField(decimal_places=0, max_digits=40)),
                ('digest', models.CharField(max_length=64)),
                ('cutoff', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='PeriodSubject',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('meter', models.CharField(max_length=20)),
                ('payer', models.CharField(choices=[('user', 'User'), ('platform', 'Platform')], max_length=8)),
            ],
        ),
        migrations.AddIndex(
            model_name='charge',
            index=models.Index(condition=models.Q(('reason', 'by_period')), fields=['organization', 'charged_at'], name='charge_by_period'),
        ),
        migrations.AddField(
            model_name='parkedperiod',
            name='decided_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='parkedperiod',
            name='organization',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='base',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='revisions', to='billing.periodcharge'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='contract',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.contract'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='entry',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='period_charges', to='billing.journalentry'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='offer',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.offer'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='organization',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='provider',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodpreview',
            name='offer',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.offer'),
        ),
        migrations.AddField(
            model_name='periodpreview',
            name='organization',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodsubject',
            name='offer',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.offer'),
        ),
        migrations.AddField(
            model_name='periodsubject',
            name='organization',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='subject',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='charges', to='billing.periodsubject'),
        ),
        migrations.AddField(
            model_name='parkedperiod',
            name='subject',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='parked', to='billing.periodsubject'),
        ),
        migrations.AddConstraint(
            model_name='periodpreview',
            constraint=models.UniqueConstraint(fields=('organization', 'period', 'offer', 'meter', 'payer'), name='period_preview_once'),
        ),
        migrations.AddConstraint(
            model_name='periodsubject',
            constraint=models.UniqueConstraint(fields=('organization', 'offer', 'meter', 'payer'), name='period_subject_once'),
        ),
        migrations.AddIndex(
            model_name='periodcharge',
            index=models.Index(fields=['organization', 'rated_at'], name='period_charge_of_org'),
        ),
        migrations.AddIndex(
            model_name='periodcharge',
            index=models.Index(fields=['provider', 'rated_at'], name='period_charge_of_provider'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(condition=models.Q(('revision', 0)), expressions=[(models.Func('subject_id', 'subject_id', models.Value('[]'), function='int8range'), '&&'), ('period', '&&')], name='period_charged_once'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.UniqueConstraint(fields=('base', 'revision'), name='period_revision_once'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('base__isnull', True), ('revision', 0)), models.Q(('base__isnull', False), ('revision__gt', 0)), _connector='OR'), name='period_revision_names_its_base'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros', django.db.models.expressions.CombinedExpression(models.F('provider_micros'), '+', models.F('platform_micros')))), name='period_split_adds_up'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(('total_micros__gte', 0), models.Q(('revision__gt', 0), ('amount_micros', models.F('total_micros')), _connector='OR')), name='period_total_is_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros', 0), ('entry__isnull', False), _connector='OR'), name='period_with_money_is_posted'),
        ),
        migrations.AddConstraint(
            model_name='parkedperiod',
            constraint=models.UniqueConstraint(fields=('subject', 'period', 'digest', 'total_micros'), name='parked_once'),
        ),
        migrations.AddConstraint(
            model_name='parkedperiod',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('state', 'open')), models.Q(models.Q(('state', 'open'), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='parked_decided_has_date'),
        ),
        migrations.RunSQL(
            (SQL / "0013_period_guards.sql").read_text(),
            (SQL / "0013_period_guards_reverse.sql").read_text(),
        ),
    ]
