"""Offers whose usage is charged when the month is over: peaks, tiers, minima, quanta."""

from django.db import migrations, models
from django.db.models import Q

# What an offer that priced an attempt keeps: everything that it says, but its end may come nearer.
GUARD = """
CREATE OR REPLACE FUNCTION marketplace_offer_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT OLD.used THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- only its end may come nearer; where nothing is different nothing is refused
        IF ({new}) IS NOT DISTINCT FROM ({old})
           AND NOT isempty(NEW.valid)
           AND lower(NEW.valid) IS NOT DISTINCT FROM lower(OLD.valid)
           AND coalesce(upper(NEW.valid), 'infinity') <= coalesce(upper(OLD.valid), 'infinity') THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'offer % has priced an attempt and never changes', OLD.id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'offer_used_is_immutable';
END $$;
"""
BEFORE = ("id", "pool_id", "basis", "currency", "used", "created_at")
AFTER = (*BEFORE, "per_period", "rules")


def guard(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD"))
    return GUARD.format(new=new, old=old)


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0021_webhooks")]

    operations = [
        migrations.AddField(
            "offer", "per_period", models.BooleanField(default=False, help_text="charged when the month is over")
        ),
        migrations.AddField(
            "offer",
            "rules",
            models.JSONField(blank=True, default=dict, help_text="peak policy, cap, quantum and minimum"),
        ),
        migrations.AddField(
            "rate",
            "document",
            models.JSONField(blank=True, null=True, help_text="the rate, where it is charged by period"),
        ),
        migrations.AlterField(
            "offer",
            "basis",
            models.CharField(
                choices=[
                    ("consumption", "Consumption"),
                    ("occupancy", "Occupancy"),
                    ("result", "Result"),
                    ("daily_peak", "Daily Peak"),
                    ("monthly_peak", "Monthly Peak"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            "rate",
            "meter",
            models.CharField(
                choices=[
                    ("core_second", "Core Second"),
                    ("accelerator_second", "Accelerator Second"),
                    ("fp32_tflop", "Fp32 Tflop"),
                    ("gb_moved", "Gb Moved"),
                    ("occupancy_second", "Occupancy Second"),
                    ("result", "Result"),
                    ("held_cores", "Held Cores"),
                    ("held_accelerators", "Held Accelerators"),
                    ("surcharge", "Surcharge"),
                ],
                max_length=20,
            ),
        ),
        migrations.RemoveConstraint("offer", "offer_basis_known"),
        migrations.AddConstraint(
            "offer",
            models.CheckConstraint(
                condition=Q(basis__in=["consumption", "occupancy", "result", "daily_peak", "monthly_peak"]),
                name="offer_basis_known",
            ),
        ),
        migrations.AddConstraint(
            "offer",
            models.CheckConstraint(
                condition=Q(per_period=True) | Q(rules={}) & ~Q(basis__endswith="_peak"),
                name="offer_with_rules_is_per_period",
            ),
        ),
        migrations.RunSQL(guard(AFTER), guard(BEFORE)),
    ]
