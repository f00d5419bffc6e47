"""Terms that have not begun are withdrawn: the row stays, and its place is free."""

from pathlib import Path

import django.contrib.postgres.constraints
import django.db.models.deletion
import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0038_budgeted_shares'),
        ('marketplace', '0032_settled_tasks'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='slaterms',
            name='sla_terms_do_not_overlap',
        ),
        migrations.AddField(
            model_name='slaterms',
            name='withdrawn_at',
            field=models.DateTimeField(blank=True, help_text='before they began', null=True),
        ),
        migrations.AddField(
            model_name='slaterms',
            name='withdrawn_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='slaterms',
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(condition=models.Q(('withdrawn_at', None)), expressions=[(models.Func('pool_id', 'pool_id', models.Value('[]'), function='int8range'), '&&'), (models.Func(django.db.models.functions.comparison.Coalesce('customer_id', 0), django.db.models.functions.comparison.Coalesce('customer_id', 0), models.Value('[]'), function='int8range'), '&&'), (models.Func(models.Func('kind', function='length', output_field=models.IntegerField()), models.Func('kind', function='length', output_field=models.IntegerField()), models.Value('[]'), function='int4range'), '&&'), ('valid', '&&')], name='sla_terms_do_not_overlap'),
        ),
        migrations.AddConstraint(
            model_name='slaterms',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('withdrawn_at', None), ('withdrawn_by', None)), models.Q(('withdrawn_at__isnull', False), ('withdrawn_at__lt', models.F('valid__startswith'))), _connector='OR'), name='sla_terms_withdrawn_before'),
        ),
        migrations.RunSQL(
            (SQL / "0039_withdrawn_terms.sql").read_text(),
            (SQL / "0039_withdrawn_terms_reverse.sql").read_text(),
        ),
    ]
