"""What may still be spent, what is held for tasks, what budgets say."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0022_prices'),
    ]

    operations = [
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('scope', models.CharField(choices=[('organization', 'Organization'), ('project', 'Project'), ('user', 'User'), ('key', 'Key'), ('task', 'Task')], max_length=12)),
                ('project', models.CharField(blank=True, default='', max_length=200)),
                ('currency', models.CharField(max_length=3)),
                ('period', models.CharField(choices=[('month', 'Month'), ('total', 'Total')], max_length=5)),
                ('zone', models.CharField(help_text='IANA; whose months are meant', max_length=50)),
                ('period_start', models.DateTimeField(help_text='charges from then on are counted')),
                ('amount_micros', models.BigIntegerField()),
                ('thresholds', models.JSONField(help_text='[{percent, action}]')),
                ('spent_micros', models.DecimalField(decimal_places=0, default=0, max_digits=40)),
                ('held_micros', models.DecimalField(decimal_places=0, default=0, max_digits=40)),
                ('created_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('api_key', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='marketplace.apikey')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='budgets', to='marketplace.organization')),
                ('task', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='budgets', to='marketplace.task')),
                ('user', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='BudgetAlert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period_start', models.DateTimeField()),
                ('percent', models.PositiveSmallIntegerField()),
                ('action', models.CharField(max_length=6)),
                ('amount_micros', models.BigIntegerField(help_text="the budget's, at that time")),
                ('spent_micros', models.DecimalField(decimal_places=0, max_digits=40)),
                ('held_micros', models.DecimalField(decimal_places=0, max_digits=40)),
                ('raised_at', models.DateTimeField()),
                ('budget', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='marketplace.budget')),
            ],
        ),
        migrations.CreateModel(
            name='CreditAlarm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('what', models.CharField(help_text='<table>/<id>/<column>', max_length=60)),
                ('stands', models.DecimalField(decimal_places=0, max_digits=40)),
                ('counted', models.DecimalField(decimal_places=0, max_digits=40)),
                ('raised_at', models.DateTimeField()),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization')),
            ],
        ),
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('task', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='hold', serialize=False, to='marketplace.task')),
                ('currency', models.CharField(max_length=3)),
                ('amount_micros', models.BigIntegerField()),
                ('captured_micros', models.BigIntegerField(default=0)),
                ('state', models.CharField(choices=[('held', 'Held'), ('captured', 'Captured'), ('released', 'Released')], default='held', max_length=8)),
                ('by', models.CharField(choices=[('estimate', 'nine of ten such tasks cost no more'), ('price_cap', "the task's own price cap"), ('minimum', "nothing is known: the settings' least hold"), ('cost', 'grown with what the task cost so far')], help_text='what the amount follows from', max_length=9)),
                ('held_at', models.DateTimeField()),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization')),
            ],
        ),
        migrations.CreateModel(
            name='SpendBlock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(max_length=40)),
                ('detail', models.CharField(blank=True, default='', max_length=300)),
                ('blocked_at', models.DateTimeField()),
                ('lifted_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='spend_blocks', to='marketplace.organization')),
            ],
        ),
        migrations.CreateModel(
            name='TaskPause',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=40)),
                ('detail', models.CharField(max_length=300)),
                ('paused_at', models.DateTimeField()),
                ('task', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='pauses', to='marketplace.task')),
            ],
        ),
        migrations.CreateModel(
            name='Allowance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(max_length=3)),
                ('limit_micros', models.DecimalField(decimal_places=0, default=0, max_digits=40)),
                ('prepaid_micros', models.DecimalField(decimal_places=0, default=0, max_digits=40)),
                ('unpaid_micros', models.DecimalField(decimal_places=0, default=0, help_text='charged and not paid; negative: paid too much', max_digits=40)),
                ('held_micros', models.DecimalField(decimal_places=0, default=0, max_digits=40)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='allowances', to='marketplace.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization', 'currency'), name='allowance_once'), models.CheckConstraint(condition=models.Q(('held_micros__gte', 0), ('limit_micros__gte', 0)), name='allowance_not_negative'), models.CheckConstraint(condition=models.Q(('prepaid_micros__gte', 0)), name='wallet_not_overdrawn')],
            },
        ),
        migrations.AddIndex(
            model_name='budget',
            index=models.Index(condition=models.Q(('closed_at__isnull', True)), fields=['organization', 'currency'], name='budget_open'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('amount_micros__gt', 0)), name='budget_has_an_amount'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('project__gt', ''), ('scope', 'project')), models.Q(models.Q(('scope', 'project'), _negated=True), ('project', '')), _connector='OR'), name='budget_of_a_project_names_it'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('scope', 'user'), ('user__isnull', True), _connector='OR'), name='budget_of_a_user'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(('scope', 'key'), ('api_key__isnull', True), _connector='OR'), name='budget_of_a_key'),
        ),
        migrations.AddConstraint(
            model_name='budget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('scope', 'task'), ('task__isnull', False)), models.Q(models.Q(('scope', 'task'), _negated=True), ('task__isnull', True)), _connector='OR'), name='budget_of_a_task'),
        ),
        migrations.AddConstraint(
            model_name='budgetalert',
            constraint=models.UniqueConstraint(fields=('budget', 'period_start', 'percent', 'action'), name='alert_once_per_period'),
        ),
        migrations.AddConstraint(
            model_name='creditalarm',
            constraint=models.UniqueConstraint(fields=('what', 'stands', 'counted'), name='credit_alarm_once'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(condition=models.Q(('state', 'held')), fields=['organization', 'task'], name='hold_open'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(fields=['organization', '-task'], name='hold_pages'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('captured_micros__gte', 0), ('captured_micros__lte', models.F('amount_micros'))), name='hold_captures_no_more_than_it_has'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('resolved_at__isnull', True), ('state', 'held')), models.Q(models.Q(('state', 'held'), _negated=True), ('resolved_at__isnull', False)), _connector='OR'), name='hold_resolved_at_iff_resolved'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'released'), _negated=True), ('captured_micros', 0), _connector='OR'), name='hold_released_captured_nothing'),
        ),
        migrations.AddConstraint(
            model_name='spendblock',
            constraint=models.UniqueConstraint(condition=models.Q(('lifted_at__isnull', True)), fields=('organization', 'reason'), name='block_once_per_reason'),
        ),
        migrations.AddConstraint(
            model_name='taskpause',
            constraint=models.UniqueConstraint(fields=('task', 'source'), name='pause_once_per_source'),
        ),
    ]
