"""SmolLM2-135M-Instruct as a Cog model: a small language model that answers on any PC.

Cog cancels by raising an exception in the thread that waits here; the engine notices within one token.
"""

import random
import sys
import types

from cog import BaseRunner, ConcatenateIterator, Input, streaming
from conversation import conversation, fit
from engine import Engine

PROMPT_TOKENS = 1_000  # it reads 100 to 250 a second, and people wait for the first word


class Runner(BaseRunner):
    def setup(self) -> None:
        _end_the_search_for_numpy()
        self.engine = Engine()

    # A generator, not an async one: Cog delivers all that an async generator yields only when it has ended.
    @streaming
    def run(  # noqa: PLR0917 (Cog wants neither keyword-only arguments nor a dictionary)
        self,
        prompt: str = Input(
            default="",
            description="The question. Needed unless messages are given.",
        ),
        system_prompt: str = Input(
            default="You are a helpful assistant. Give a short, correct answer in plain English.",
            description="What the model is told about its task. Not used if the messages begin with a system message.",
        ),
        messages: list[dict] = Input(  # noqa: B008 (it is only read)
            default=[],
            description="The whole conversation, the user's question last. If given, the prompt is not used.",
        ),
        max_tokens: int = Input(
            default=512,
            ge=1,
            le=1024,
            description="The most tokens to answer with. A token is about three quarters of a word.",
        ),
        temperature: float = Input(
            default=0.0,
            ge=0.0,
            le=2.0,
            description="How freely words are chosen. At 0 it is the likeliest each time, which gets most facts right.",
        ),
        top_p: float = Input(
            default=0.95,
            ge=0.0,
            le=1.0,
            description="Choose among the likeliest words that together have this probability; above temperature 0.",
        ),
        seed: int | None = Input(
            default=None,
            ge=0,
            le=2147483647,
            description="Repeats an answer that was given with the same seed. Left out, it is drawn by chance.",
        ),
    ) -> ConcatenateIterator[str]:
        """Yield the answer, piece by piece."""
        asked = conversation(prompt, system_prompt, messages)
        kept = fit(asked, PROMPT_TOKENS, self.engine.count_tokens)
        if left_out := len(asked) - len(kept):
            print(f"The {left_out} oldest messages were left out: the model reads at most {PROMPT_TOKENS:,} tokens.")
        if seed is None:
            seed = random.randrange(2**31)  # noqa: S311
        if temperature > 0:
            print(f"Seed: {seed}")
        timings = yield from self.engine.answer(
            kept, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )
        self.record_metric("input_token_count", timings["cache_n"] + timings["prompt_n"])
        self.record_metric("output_token_count", timings["predicted_n"])
        self.record_metric("tokens_per_second", round(timings["predicted_per_second"], 1))
        self.record_metric("time_to_first_token", round(timings["prompt_ms"] / 1000, 3))


def _end_the_search_for_numpy() -> None:
    """Give Cog a numpy without content.

    After each piece of output Cog tries to import numpy, and takes whatever is raised meanwhile for the sign that there
    is none: also the exception by which it cancels. Searching all folders each time, it lost five of a hundred
    cancellations, and the model wrote on to the end. What is there already need not be searched.
    """
    try:
        import numpy  # noqa: F401, PLC0415
    except ImportError:
        numbers = dict.fromkeys(("integer", "floating", "ndarray"), type("Nothing", (), {}))
        sys.modules["numpy"] = types.ModuleType("numpy")
        vars(sys.modules["numpy"]).update(numbers)
