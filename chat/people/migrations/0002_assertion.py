
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('people', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Assertion',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('token', models.CharField(max_length=64, unique=True)),
                ('request', models.CharField(max_length=100)),
                ('said', models.JSONField(null=True)),
                ('received_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
        ),
    ]
