"""Own prices of customers at pools, in the place of the list that everybody sees."""

import django.contrib.postgres.constraints
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

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
BEFORE = ("id", "pool_id", "basis", "currency", "used", "created_at", "per_period", "rules")
AFTER = (*BEFORE, "customer_id")


def guard(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD"))
    return GUARD.format(new=new, old=old)


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0024_credit_guards'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='offer',
            name='offer_periods_do_not_overlap',
        ),
        migrations.AddField(
            model_name='offer',
            name='customer',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.organization'),
        ),
        migrations.AddIndex(
            model_name='offer',
            index=models.Index(condition=models.Q(('customer__isnull', False)), fields=['customer', 'pool'], name='offer_of_customer'),
        ),
        migrations.AddConstraint(
            model_name='offer',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(expressions=[(models.Func('pool_id', 'pool_id', models.Value('[]'), function='int8range'), '&&'), (models.Func(django.db.models.functions.comparison.Coalesce('customer_id', models.Value(0), output_field=models.BigIntegerField()), django.db.models.functions.comparison.Coalesce('customer_id', models.Value(0), output_field=models.BigIntegerField()), models.Value('[]'), function='int8range'), '&&'), ('valid', '&&')], name='offer_periods_do_not_overlap'),
        ),
        migrations.AddConstraint(
            model_name='offer',
            constraint=models.CheckConstraint(condition=models.Q(('customer__isnull', True), ('per_period', True), _connector='OR'), name='offer_of_customer_is_per_period'),
        ),
        migrations.RunSQL(guard(AFTER), guard(BEFORE)),
    ]
