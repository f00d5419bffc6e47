"""What providers promise, how days kept it, and what is given back: a charge of a kind of its own."""

from pathlib import Path

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0032_reserves'),
        ('marketplace', '0027_ascii_names'),
        ('metering', '0013_joined_arrays'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SLACredit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
            options={
                'verbose_name': 'SLA credit',
            },
        ),
        migrations.CreateModel(
            name='SLADay',
            fields=[
                ('day', models.DateField(primary_key=True, serialize=False)),
                ('measured_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='SLAMeasurement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('currency', models.CharField(max_length=3)),
                ('good', models.BigIntegerField()),
                ('total', models.BigIntegerField()),
                ('credit_basis_points', models.IntegerField()),
                ('covered_micros', models.BigIntegerField(help_text='what of it was charged and is not taken back')),
                ('credit_micros', models.BigIntegerField()),
                ('evidence', models.JSONField()),
                ('digest', models.BinaryField(max_length=32)),
                ('measured_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='SLATerms',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('deadline', 'Deadline'), ('availability', 'Availability')], max_length=12)),
                ('steps', models.JSONField(help_text='[[threshold, credit], ...], basis points')),
                ('minimum', models.BigIntegerField(default=1)),
                ('valid', django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text='[from, to), whole days in UTC')),
                ('made_at', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'SLA terms',
                'verbose_name_plural': 'SLA terms',
            },
        ),
        migrations.RemoveConstraint(
            model_name='charge',
            name='charge_of_usage_names_it',
        ),
        migrations.RemoveConstraint(
            model_name='charge',
            name='charge_of_nobody_is_zero',
        ),
        migrations.RemoveConstraint(
            model_name='charge',
            name='refund_is_below_zero',
        ),
        migrations.AlterField(
            model_name='charge',
            name='kind',
            field=models.CharField(choices=[('usage', 'Usage'), ('fee', 'Fee'), ('delta', 'Delta'), ('refund', 'Refund'), ('sla', 'Sla')], max_length=6),
        ),
        migrations.AlterField(
            model_name='invoiceline',
            name='kind',
            field=models.CharField(choices=[('usage', 'Usage'), ('fee', 'Fee'), ('period', 'Period'), ('sla', 'Sla'), ('remainder', 'Remainder'), ('rounding', 'Rounding')], max_length=9),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['usage', 'delta']), ('usage__isnull', False)), models.Q(('kind__in', ['fee', 'sla']), ('usage__isnull', True)), ('kind', 'refund'), _connector='OR'), name='charge_of_usage_names_it'),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount_micros', 0), ('payer', 'nobody')), models.Q(models.Q(('payer', 'nobody'), _negated=True), models.Q(('amount_micros__gte', 0), ('kind__in', ['delta', 'refund', 'sla']), _connector='OR')), _connector='OR'), name='charge_of_nobody_is_zero'),
        ),
        migrations.AddConstraint(
            model_name='charge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['refund', 'sla']), _negated=True), ('amount_micros__lt', 0), _connector='OR'), name='refund_is_below_zero'),
        ),
        migrations.AddField(
            model_name='slacredit',
            name='charge',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='sla_credit', to='billing.charge'),
        ),
        migrations.AddField(
            model_name='slacredit',
            name='task',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.task'),
        ),
        migrations.AddField(
            model_name='slameasurement',
            name='organization',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='slacredit',
            name='measurement',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='credits', to='billing.slameasurement'),
        ),
        migrations.AddField(
            model_name='slaterms',
            name='customer',
            field=models.ForeignKey(blank=True, db_index=False, help_text='none: all', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddField(
            model_name='slaterms',
            name='made_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='slaterms',
            name='pool',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.pool'),
        ),
        migrations.AddField(
            model_name='slameasurement',
            name='terms',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='measurements', to='billing.slaterms'),
        ),
        migrations.AddConstraint(
            model_name='slacredit',
            constraint=models.UniqueConstraint(fields=('measurement', 'task'), name='sla_credit_once'),
        ),
        migrations.AddConstraint(
            model_name='slaterms',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(expressions=[(models.Func('pool_id', 'pool_id', models.Value('[]'), function='int8range'), '&&'), (models.Func(django.db.models.functions.comparison.Coalesce('customer_id', 0), django.db.models.functions.comparison.Coalesce('customer_id', 0), models.Value('[]'), function='int8range'), '&&'), (models.Func(models.Func('kind', function='length', output_field=models.IntegerField()), models.Func('kind', function='length', output_field=models.IntegerField()), models.Value('[]'), function='int4range'), '&&'), ('valid', '&&')], name='sla_terms_do_not_overlap'),
        ),
        migrations.AddConstraint(
            model_name='slaterms',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['deadline', 'availability']), ('minimum__gt', 0), ('valid__isempty', False), ('valid__lower_inf', False)), name='sla_terms_make_sense'),
        ),
        migrations.AddIndex(
            model_name='slameasurement',
            index=models.Index(fields=['organization', 'id'], name='sla_of_organization'),
        ),
        migrations.AddConstraint(
            model_name='slameasurement',
            constraint=models.UniqueConstraint(fields=('terms', 'day', 'organization', 'currency'), name='sla_measured_once'),
        ),
        migrations.AddConstraint(
            model_name='slameasurement',
            constraint=models.CheckConstraint(condition=models.Q(('good__gte', 0), ('total__gte', models.F('good'))), name='sla_good_is_a_part'),
        ),
        migrations.AddConstraint(
            model_name='slameasurement',
            constraint=models.CheckConstraint(condition=models.Q(('credit_basis_points__gte', 0), ('credit_basis_points__lte', 10000), ('credit_micros__gte', 0), ('credit_micros__lte', models.F('covered_micros'))), name='sla_credit_is_at_most_all'),
        ),
        migrations.RunSQL(
            (SQL / "0033_sla_guards.sql").read_text(),
            (SQL / "0033_sla_guards_reverse.sql").read_text(),
        ),
    ]
