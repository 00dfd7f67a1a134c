"""Which input takes a file that came with a question; what is not taken is refused in words."""

from dataclasses import dataclass

import pytest

from predictions.attachments import MOST, NotTaken, kind_of, rooms_of
from predictions.families import Family, family_of
from predictions.schema import Input, InputKind

PNG, WAV, MP4, UNKNOWN = "image/png", "audio/wav", "video/mp4", "application/octet-stream"


@dataclass(frozen=True)
class Picked:
    name: str
    media_type: str = PNG

    @property
    def reference(self) -> str:
        return f"parley-file:{self.name}"


def inputs(**kinds: InputKind | Input) -> dict[str, Input]:
    plain = {name: Input(name, kind, name) for name, kind in kinds.items() if isinstance(kind, InputKind)}
    return {**plain, **{name: each for name, each in kinds.items() if isinstance(each, Input)}}


def place(asked: dict[str, Input], *files: Picked, family: Family | None = None) -> dict[str, object]:
    rooms = rooms_of(asked, family or family_of("acme/model", asked))
    return dict(rooms.place(files, "Painter"))


def test_one_image_goes_to_the_input_for_an_image() -> None:
    asked = inputs(prompt=InputKind.TEXT, mask=InputKind.FILE, image=InputKind.FILE)

    assert place(asked, Picked("a.png")) == {"image": "parley-file:a.png"}


def test_several_images_go_to_a_list_in_their_order() -> None:
    asked = inputs(prompt=InputKind.TEXT, images=InputKind.FILES)

    assert place(asked, Picked("a"), Picked("b")) == {"images": ["parley-file:a", "parley-file:b"]}
    assert place(asked, Picked("a")) == {"images": ["parley-file:a"]}


def test_each_file_goes_where_its_kind_is_taken() -> None:
    asked = inputs(image=InputKind.FILE, audio=InputKind.FILE, driving_video=InputKind.FILE, document=InputKind.FILE)
    given = (Picked("d.pdf", UNKNOWN), Picked("v", MP4), Picked("s", WAV), Picked("i"))

    assert place(asked, *given) == {
        "document": "parley-file:d.pdf",
        "driving_video": "parley-file:v",
        "audio": "parley-file:s",
        "image": "parley-file:i",
    }


def test_an_input_for_any_file_takes_every_kind() -> None:
    asked = inputs(attachment=InputKind.FILE)

    for media_type in (PNG, WAV, MP4, UNKNOWN):
        assert place(asked, Picked("a", media_type)) == {"attachment": "parley-file:a"}
    assert rooms_of(asked, Family()).accept == ""


def test_a_sound_in_a_film_is_heard() -> None:
    assert place(inputs(audio=InputKind.FILE), Picked("talk", MP4)) == {"audio": "parley-file:talk"}


def test_what_an_admin_says_counts_first() -> None:
    asked = inputs(image=InputKind.FILE, control=InputKind.FILE)

    assert place(asked, Picked("a"), family=Family(images="control")) == {"control": "parley-file:a"}


def test_more_than_a_model_takes_is_refused_with_what_it_takes() -> None:
    asked = inputs(image=InputKind.FILE)

    with pytest.raises(NotTaken, match=r"^Painter takes one image, and there are 2 here\. Remove "):
        place(asked, Picked("a"), Picked("b"))
    longer = inputs(images=Input("images", InputKind.FILES, "Images", max_items=3))
    with pytest.raises(NotTaken, match="Painter takes up to 3 images, and there are 4 here"):
        place(longer, *(Picked(str(number)) for number in range(4)))


def test_a_kind_that_a_model_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(NotTaken, match=r"Painter takes one image, so it cannot take “talk\.wav”"):
        place(inputs(image=InputKind.FILE), Picked("talk.wav", WAV))
    with pytest.raises(NotTaken, match="Painter takes no files, so it cannot take “a”"):
        place(inputs(prompt=InputKind.TEXT), Picked("a"))


def test_one_message_takes_no_more_than_its_bound() -> None:
    with pytest.raises(NotTaken, match=f"one message takes {MOST}"):
        place(inputs(images=InputKind.FILES), *(Picked(str(number)) for number in range(MOST + 1)))


def test_the_picker_offers_what_the_model_takes() -> None:
    both = rooms_of(inputs(images=InputKind.FILES, audio=InputKind.FILE), Family(images="images", audio="audio"))

    assert both.accept == "image/*,audio/*,video/*"
    assert str(both) == "up to 10 images and one sound"
    assert both.as_json() == {"image": ["images", 10], "audio": ["audio", 1], "video": ["audio", 1]}


def test_parts_of_models_are_not_for_people() -> None:
    assert rooms_of(inputs(replicate_weights=InputKind.FILE, lora_url=InputKind.FILE), Family()).all == ()


@pytest.mark.parametrize(
    ("media_type", "name", "kind"),
    [
        (PNG, "claims.mp3", "image"),
        (UNKNOWN, "photo.HEIC", "image"),
        (UNKNOWN, "talk.mp3", "audio"),
        (UNKNOWN, "noending", "file"),
        ("", "", "file"),
        ("application/pdf", "a.png", "file"),
    ],
)
def test_first_bytes_count_and_names_only_where_these_tell_nothing(media_type: str, name: str, kind: str) -> None:
    assert kind_of(media_type, name) == kind
