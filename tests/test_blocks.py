"""What blocks of an answer become: code in colours while the answer goes on, and diagrams in a frame of their own."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, expect

from chat.block_views import MOST_BLOCKS
from chat.markdown import MAX_HIGHLIGHTED, render
from chat.models import User
from tests.browser import Open, send, violations
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.site import Site
from tests.test_markdown import PAYLOADS

CODE = "def f(x):\n    return '<&>'\n"

# ---------------------------------------------------------------- what the server says


@pytest.fixture
def client(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def ask(client: Client, body: Any) -> Any:
    return client.post(reverse("chat:code_highlight"), body, content_type="application/json")


@pytest.mark.django_db
def test_code_is_coloured_as_in_a_stored_answer(client: Client) -> None:
    blocks = [{"language": "Python", "code": CODE}, {"language": "klingon", "code": "def"}]

    [pieces, plain] = ask(client, {"blocks": blocks}).json()["blocks"]

    assert "".join(text for _, text in pieces) == CODE
    stored = render(f"```python\n{CODE}```")
    for kind, text in pieces:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert (f'<span class="{kind}">{escaped}</span>' if kind else escaped) in stored
    assert ["k", "def"] in pieces
    assert plain == [["", "def"]]


BLOCK = {"language": "c", "code": "x"}
REFUSED = [
    "",
    "[]",
    "{",
    "[" * 100_000,
    "\udcff".encode("utf-8", "surrogateescape"),
    {"blocks": 1},
    {"blocks": {"a": 1}},
    {"blocks": ["abc"]},
    {"blocks": [None]},
    {"blocks": [{"language": "c"}]},
    {"blocks": [{"language": 1, "code": "x"}]},
    {"blocks": [{"language": "c", "code": ["x"]}]},
    {"blocks": [BLOCK] * (MOST_BLOCKS + 1)},
    {"blocks": [{"language": "c", "code": "x" * (MAX_HIGHLIGHTED + 1)}]},
    {"blocks": [{"language": "c" * 31, "code": "x"}]},
]


@pytest.mark.django_db
def test_what_is_no_code_or_too_much_is_refused(client: Client) -> None:
    for body in REFUSED:
        assert ask(client, body).status_code == 400, str(body)[:100]
    assert ask(client, json.dumps({"blocks": [{"language": "c", "code": "\ud800\0"}]})).status_code == 200


@pytest.mark.django_db
def test_only_people_of_the_site_have_code_coloured(alice: User) -> None:
    body = {"blocks": [BLOCK]}
    strict = Client(enforce_csrf_checks=True)

    assert ask(Client(), body).status_code == 302
    assert Client().get(reverse("chat:diagram_frame")).status_code == 302
    strict.force_login(alice)
    assert ask(strict, body).status_code == 403


@pytest.mark.django_db
def test_the_frame_of_diagrams_may_fetch_its_scripts_and_nothing_else(client: Client) -> None:
    response = client.get(reverse("chat:diagram_frame"))

    rules = dict(rule.partition(" ")[::2] for rule in response.headers["Content-Security-Policy"].split("; "))
    assert rules["sandbox"] == "allow-scripts"
    assert rules["default-src"] == "'none'"
    assert [source.rpartition("/")[2].partition(".")[0] for source in rules["script-src"].split()] == [
        "mermaid",
        "diagram",
    ]
    assert {"connect-src", "img-src", "font-src", "frame-src"}.isdisjoint(rules)
    assert rules["frame-ancestors"] == "'self'"
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert client.get(reverse("chat:home")).headers["X-Frame-Options"] == "DENY"


# ---------------------------------------------------------------- what people see

DIAGRAM = """```mermaid
flowchart LR
  A[Start] --> B[<b>Finish</b>]
```
"""
ANSWER = f"- In a list:\n\n  ```python\n  import os\n  ```\n\nWords.\n\n{DIAGRAM}\n```python\n{CODE}```\n"
WRONG = """```mermaid
flowchart LR
  A -->
```

```mermaid
mindmap
  Root
```
"""


def test_colours_and_diagrams_come_while_the_answer_goes_on(open_page: Open, host: FakeReplicate, site: Site) -> None:
    gate = Gate()
    host.script(Script(steps=[ANSWER, gate, f"\nThe end.\n\n{WRONG}"]))
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    send(page, "Show me")
    answer = page.locator(".message--assistant")

    expect(answer.locator("answer-text .code").last.locator(".k").first).to_have_text("def")
    expect(answer.locator("li .kn")).to_have_text("import")
    assert not any("mermaid" in url for url in asked)
    show = answer.get_by_role("button", name="Show diagram")
    show.focus()
    page.keyboard.press("Enter")
    frame = answer.frame_locator("iframe[title=Diagram]")
    expect(frame.get_by_text("Start", exact=True)).to_be_visible()
    expect(page.locator("#announcer")).to_have_text("Diagram shown.")
    expect(answer.get_by_role("button", name="Show code")).to_be_focused()
    expect(answer.get_by_text("A[Start]")).to_be_hidden()
    reach = "() => { try { return document.cookie + parent.document.title; } catch (error) { return error.name; } }"
    assert frame.locator("svg").evaluate(reach) == "SecurityError"

    gate.open()
    expect(answer.get_by_role("button", name="More actions")).to_be_visible()
    expect(frame.get_by_text("Start", exact=True)).to_be_visible()
    expect(answer.get_by_text("A[Start]")).to_be_hidden()
    expect(answer.locator(".code").nth(2).locator(".k").first).to_have_text("def")
    page.emulate_media(color_scheme="dark")
    expect(frame.locator(":root")).to_have_css("color-scheme", "dark")
    expect(frame.locator(".nodeLabel, .node text").first).to_have_css("fill", "rgb(241, 243, 242)")
    assert violations(page) == []
    answer.get_by_role("button", name="Show code").click()
    expect(answer.get_by_text("A[Start]")).to_be_visible()
    expect(answer.locator("iframe")).to_have_count(0)

    for words in ("This diagram has a mistake in line 2.", "Diagrams of this kind cannot be shown here."):
        answer.get_by_role("button", name="Show diagram").nth(1 if "line" in words else 2).click()
        expect(answer.get_by_text(words)).to_be_visible()
    expect(page.locator("#announcer")).to_have_text(words)
    expect(answer.locator("iframe")).to_have_count(0)
    expect(answer.get_by_text("Root")).to_be_visible()
    assert all(url.startswith((site.url, "data:")) for url in asked)


def test_a_diagram_that_ends_with_its_answer_can_be_shown(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["```mermaid\nflowchart LR\n  A --> B\n", gate]))
    page = open_page()
    send(page, "Draw it")
    expect(page.get_by_text("A --> B")).to_be_visible()
    expect(page.get_by_role("button", name="Show diagram")).to_have_count(0)
    gate.open()

    expect(page.get_by_role("button", name="Show diagram")).to_be_visible()


def test_a_diagram_that_takes_too_long_is_given_up(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=[DIAGRAM]))
    page = open_page()
    page.route("**/frames/diagram*.js", lambda route: route.fulfill(body="// It never answers."))
    send(page, "Show me")
    expect(page.get_by_role("button", name="More actions")).to_be_visible()
    page.clock.install()

    page.get_by_role("button", name="Show diagram").click()
    expect(page.locator("diagram-frame iframe")).to_be_attached()
    page.frames[-1].wait_for_load_state()
    expect(page.get_by_role("button", name="Drawing …")).to_be_visible()
    page.clock.run_for(10_000)

    expect(page.locator(".code__note")).to_have_text("This diagram takes too long to draw.")
    expect(page.locator("iframe")).to_have_count(0)
    expect(page.get_by_text("A[Start]")).to_be_visible()


# ---------------------------------------------------------------- hostile diagrams

OVERRIDE = '{"securityLevel": "loose", "htmlLabels": true, "flowchart": {"htmlLabels": true}, "maxTextSize": 9999999}'
HOSTILE = [
    'flowchart LR\nA --> B\nclick A "javascript:alert(1)" "x" _blank\nclick B call alert(1)',
    'flowchart LR\nA --> B\nclick A href "https://evil.example/" _self\nclick B alert "x"',
    'flowchart LR\nA["<img src=x onerror=alert(1)>"] -- "<script>alert(1)</script>" --> B["<svg onload=alert(1)>"]',
    f'%%{{init: {OVERRIDE}}}%%\nflowchart LR\nA["<img src=x onerror=alert(1)>"]\nclick A call alert(1)',
    f"---\nconfig: {OVERRIDE}\n---\nflowchart LR\nA[\"<iframe srcdoc='<script>alert(1)</script>'></iframe>\"]",
    '%%{init: {"secure": [], "securityLevel": "loose"}}%%\nflowchart LR\nA["<img src=x onerror=alert(1)>"]',
    '%%{init: {"themeCSS": "@import url(https://evil.example/a.css); * {background: url(https://evil.example/b)}"}}%%\n'
    "flowchart LR\nA",
    '%%{init: {"fontFamily": "x;}</style><img src=x onerror=alert(1)>"}}%%\nflowchart LR\nA',
    '%%{init: {"themeVariables": {"primaryColor": "red;}</style><script>alert(1)</script>"}}}%%\nflowchart LR\nA',
    'flowchart LR\nA@{ img: "https://evil.example/p.png", label: "x", w: 60, h: 60 }',
    "flowchart LR\nA\nstyle A fill:url(https://evil.example/p)\nclassDef b fill:url(https://evil.example/q)\nclass A b",
    "sequenceDiagram\nparticipant A\nlink A: x @ javascript:alert(1)\nA->>A: x",
    'sequenceDiagram\nparticipant A\nlinks A: {"y": "javascript:alert(1)"}\nA->>A: <img src=x onerror=alert(1)>',
    'classDiagram\nclass A\nclick A href "javascript:alert(1)"\nlink A "https://evil.example/"\ncallback A "alert"',
    'gantt\nsection A\nb :c, 2014-01-01, 3d\nclick c href "javascript:alert(1)"\nclick c call alert(1)',
    "stateDiagram-v2\n[*] --> A : <img src=x onerror=alert(1)>\nnote right of A\n<script>alert(1)</script>\nend note",
    'pie title <img src=x onerror=alert(1)>\n"<svg onload=alert(1)>" : 1',
    'erDiagram\nA ||--o{ B : "<img src=x onerror=alert(1)>"',
    'gitGraph\ncommit id: "<img src=x onerror=alert(1)>"',
    "<img src=x onerror=alert(1)>",
    "flowchart LR\nA --> <img src=x onerror=alert(1)>",
]
DRAW = """async (codes) => {
    const colors = { accent: "rgb(0, 0, 0)", background: "white", line: "gray", soft: "white", text: "black" };
    const found = [];
    for (const code of codes) {
        let said;
        document.body.replaceChildren();
        await draw({ code, isDark: false, colors }, { postMessage: (data) => { said = data; } });
        await new Promise(go => setTimeout(go));
        const dangers = [...document.querySelectorAll("body *")].filter(node =>
            node.matches("a, img, image, script, iframe, object, embed, form, link, meta")
            || [...node.attributes].some(({ name, value }) =>
                /^on/.test(name) || (/href$|src$/.test(name) && !value.startsWith("#"))));
        found.push({ isDrawn: Number.isFinite(said?.height), said, dangers: dangers.map(node => node.outerHTML) });
    }
    return found;
}"""


def flowchart(labels: list[str]) -> str:
    words = [label.replace('"', "#quot;").replace("\n", " ") for label in labels]
    return "flowchart LR\n" + "\n".join(f'A{number}["{word}"]' for number, word in enumerate(words))


def test_a_hostile_diagram_is_a_drawing_or_a_mistake(browser: Browser, site: Site, signed_in: Any) -> None:
    """Neither the frame nor its policy helps here."""
    labels = [flowchart(PAYLOADS[start : start + 60]) for start in range(0, len(PAYLOADS), 60)]
    page = browser.new_page(storage_state=signed_in, bypass_csp=True)
    page.add_init_script("window.alerts = []; window.alert = (words) => window.alerts.push(String(words));")
    page.goto(f"{site.url}/diagram/")
    page.wait_for_function("window.mermaid && typeof draw === 'function'")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    found = page.evaluate(DRAW, [*HOSTILE, *labels])

    for code, drawing in zip([*HOSTILE, *labels], found, strict=True):
        assert drawing["dangers"] == [], code
        assert drawing["isDrawn"] or drawing["said"]["problem"], code
    assert all(drawing["isDrawn"] for drawing in found[len(HOSTILE) :])
    assert page.evaluate("window.alerts") == []
    assert asked == []
    page.evaluate("document.body.innerHTML = '<img src=/missing onerror=alert(1)>'")
    page.wait_for_function("window.alerts.length === 1")
    page.close()
