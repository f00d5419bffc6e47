"""What was settled on a day is found without reading every task."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0031_declared_benchmark'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('settled_at__isnull', False)), fields=['settled_at'], name='task_settled'),
        ),
    ]
