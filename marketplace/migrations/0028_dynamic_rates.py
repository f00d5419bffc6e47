"""Dynamic rates: prices that a round froze, as offers that are never in force."""

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
BEFORE = ("id", "pool_id", "basis", "currency", "used", "created_at", "per_period", "rules", "customer_id")
AFTER = (*BEFORE, "origin_id", "round", "market")


def guard(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD"))
    return GUARD.format(new=new, old=old)


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0027_ascii_names'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='offer',
            name='offer_periods_do_not_overlap',
        ),
        migrations.AddField(
            model_name='offer',
            name='market',
            field=models.JSONField(blank=True, help_text="what that round's prices follow from", null=True),
        ),
        migrations.AddField(
            model_name='offer',
            name='origin',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketplace.offer'),
        ),
        migrations.AddField(
            model_name='offer',
            name='round',
            field=models.BigIntegerField(blank=True, help_text="which round's prices these are, of a list with dynamic rates", null=True),
        ),
        migrations.AddField(
            model_name='rate',
            name='of_round',
            field=models.BooleanField(db_default=False, default=False, help_text='of an offer that a round froze'),
        ),
        migrations.AlterField(
            model_name='rate',
            name='document',
            field=models.JSONField(blank=True, help_text='the rate, where it is charged by period or dynamic', null=True),
        ),
        migrations.AddIndex(
            model_name='offer',
            index=models.Index(condition=models.Q(('origin__isnull', True)), fields=['pool'], name='offer_listed'),
        ),
        migrations.AddIndex(
            model_name='rate',
            index=models.Index(condition=models.Q(('of_round', False)), fields=['id'], name='rate_listed'),
        ),
        migrations.AddConstraint(
            model_name='offer',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(condition=models.Q(('origin__isnull', True)), expressions=[(models.Func('pool_id', 'pool_id', models.Value('[]'), function='int8range'), '&&'), (models.Func(django.db.models.functions.comparison.Coalesce('customer_id', models.Value(0), output_field=models.BigIntegerField()), django.db.models.functions.comparison.Coalesce('customer_id', models.Value(0), output_field=models.BigIntegerField()), models.Value('[]'), function='int8range'), '&&'), ('valid', '&&')], name='offer_periods_do_not_overlap'),
        ),
        migrations.AddConstraint(
            model_name='offer',
            constraint=models.UniqueConstraint(fields=('origin', 'round'), name='offer_once_per_round'),
        ),
        migrations.AddConstraint(
            model_name='offer',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('market__isnull', True), ('origin__isnull', True), ('round__isnull', True)), models.Q(('market__isnull', False), ('origin__isnull', False), ('per_period', False), ('round__isnull', False), ('valid__isempty', True)), _connector='OR'), name='offer_of_round_is_never_listed'),
        ),
        migrations.RunSQL(guard(AFTER), guard(BEFORE)),
    ]
