"""Charges of months are disputed as those of tasks are."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0034_invoice_buyers'),
        ('marketplace', '0027_ascii_names'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='disputedcharge',
            name='award_is_a_refund',
        ),
        migrations.AddField(
            model_name='disputedcharge',
            name='period_charge',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='disputed', to='billing.periodcharge'),
        ),
        migrations.AddField(
            model_name='disputedcharge',
            name='period_refund',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='takes_back', to='billing.periodcharge'),
        ),
        migrations.AddField(
            model_name='periodcharge',
            name='refunds',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='refunded', to='billing.periodcharge'),
        ),
        migrations.AlterField(
            model_name='dispute',
            name='publisher',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AlterField(
            model_name='disputedcharge',
            name='charge',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='disputed', to='billing.charge'),
        ),
        migrations.AddConstraint(
            model_name='disputedcharge',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'withdrawn'), _negated=True), fields=('period_charge',), name='period_charge_disputed_once'),
        ),
        migrations.AddConstraint(
            model_name='disputedcharge',
            constraint=models.UniqueConstraint(condition=models.Q(('period_refund__isnull', False)), fields=('period_refund',), name='period_refund_takes_back_once'),
        ),
        migrations.AddConstraint(
            model_name='disputedcharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('charge__isnull', False), ('period_charge__isnull', True), ('period_refund__isnull', True)), models.Q(('charge__isnull', True), ('period_charge__isnull', False), ('refund__isnull', True)), _connector='OR'), name='disputed_charge_is_of_a_task_or_a_month'),
        ),
        migrations.AddConstraint(
            model_name='disputedcharge',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('awarded_micros', 0), ('period_refund__isnull', True), ('refund__isnull', True)), models.Q(('awarded_micros__gt', 0), ('state', 'decided'), models.Q(('refund__isnull', False), ('period_refund__isnull', False), _connector='OR')), _connector='OR'), name='award_is_a_refund'),
        ),
        migrations.AddConstraint(
            model_name='periodcharge',
            constraint=models.CheckConstraint(condition=models.Q(('refunds__isnull', True), models.Q(('amount_micros__lt', 0), ('revision__gt', 0)), _connector='OR'), name='period_refund_is_below_zero'),
        ),
        migrations.RunSQL((SQL / "0035_disputed_months.sql").read_text(), (SQL / "0035_disputed_months_reverse.sql").read_text()),
    ]
