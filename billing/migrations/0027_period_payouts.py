"""Providers' shares of what is charged by month are paid out, too."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0026_disputes")]

    operations = [
        migrations.RemoveConstraint("payoutline", "payout_line_is_of_its_share"),
        migrations.AddField(
            "payoutline",
            "period_charge",
            models.ForeignKey(
                null=True, blank=True, on_delete=django.db.models.deletion.PROTECT, related_name="payout_lines",
                to="billing.periodcharge", db_constraint=False, db_index=False,
            ),
        ),
        migrations.AlterField(
            "payoutline",
            "charge",
            models.ForeignKey(
                null=True, blank=True, on_delete=django.db.models.deletion.PROTECT, related_name="payout_lines",
                to="billing.charge", db_constraint=False, db_index=False,
            ),
        ),
        migrations.AddConstraint(
            "payoutline",
            models.CheckConstraint(
                condition=Q(period_charge=None, role="provider", share=F("charge_id") * 2)
                | Q(period_charge=None, role="publisher", share=F("charge_id") * 2 + 1)
                | Q(charge=None, role="provider", share=-F("period_charge_id")),
                name="payout_line_is_of_its_share",
            ),
        ),
        migrations.RunSQL((SQL / "0027_period_payouts.sql").read_text(), (SQL / "0027_period_payouts_reverse.sql").read_text()),
    ]
