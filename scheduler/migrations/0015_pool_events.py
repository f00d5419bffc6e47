"""Doubt about a pool and a level about to end are events, too."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduler', '0014_bounds'),
    ]

    operations = [
        migrations.AlterField(
            model_name='poolevent',
            name='kind',
            field=models.CharField(choices=[('wrong', 'results were wrong'), ('quarantined', 'Quarantined'), ('returned', 'returned from quarantine'), ('lifted', 'quarantine lifted by an operator'), ('level', 'level changed'), ('level_ends', 'level ends soon'), ('audited', 'audited by an operator'), ('rechecks', 'results are run again'), ('doubted', 'run again, the result was another')], max_length=12),
        ),
    ]
