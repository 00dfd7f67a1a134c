from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("predictions", "0005_link_pins")]

    operations = [
        migrations.AddConstraint(
            model_name='pin',
            constraint=models.UniqueConstraint(condition=models.Q(('replaces', None)), fields=('model', 'environment'), name='pin_first_once'),
        ),
    ]
