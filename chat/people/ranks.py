"""Who stands above others, and the last admin, who stays one."""

from chat.models import User


def is_above_others(person: User) -> bool:
    """Whether `person` enters the administration, or would if they were switched on."""
    entering = User.objects.with_perm("people.enter_admin", is_active=None)  # type: ignore[arg-type]  # None: whether or not
    return person.is_staff or entering.filter(pk=person.pk).exists()


def is_last_admin(person: User, *, hold: bool = False) -> bool:
    """Whether nobody but `person` is an admin; with `hold`, until the transaction ends nobody becomes less."""
    if not (person.pk and person.is_active and person.is_superuser):
        return False
    admins = User.objects.filter(is_active=True, is_superuser=True)
    # In one order, so that two who demote each other wait, and the second sees what the first did.
    found = list((admins.select_for_update() if hold else admins).order_by("pk"))
    return all(admin == person for admin in found)
