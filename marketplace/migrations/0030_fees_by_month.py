"""Tasks whose publisher's fees are charged when the month is over are found by their customer."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketplace', '0029_buyers'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('terms__has_key', 'fees_by_month')), fields=['organization', 'settled_at'], name='task_with_fees_by_month'),
        ),
    ]
