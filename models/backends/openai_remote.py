"""Any OpenAI-compatible server: LMDeploy, vLLM, SGLang, Ray Serve, transformers serve, llama.cpp, OpenAI.

Options of a spec: `model` (empty: the first the server offers), `api_key`, `api_key_env` (a variable that holds it),
`prefill` ("" none, "native": a trailing assistant message is continued by itself, "continue_final_message": as vLLM and
SGLang ask for it), `extra` ("auto", "full", "plain": who gets top-k and the repetition penalty, see `models.openai.wire`),
`timeout` (seconds of silence, default 120), `retries` (default 2; only before the answer begins). The address is the spec's
source of the kind `endpoint`.

Stop strings are enforced here, all of them; the server is given the first four. A server that sends no usage has its pieces
counted instead, and then the prompt counts 0 tokens. Stop, `close` and a closed iterator end a request also while the server
is silent; looking up a host name is the one thing they wait for. Knows no prompt format and renders nothing itself.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai

from models.openai.endpoint import Call, Endpoint
from models.openai.errors import Asked, explain, not_openai, server_text
from models.openai.picture_data import shortened
from models.openai.wire import Answer, Server, messages_to_wire, read_choice, read_server, sampling_to_wire, tools_to_wire
from shared import chatml
from shared.engine import Cancel, Cancelled, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.errors import BadRequest, DemoError, ModelUnavailable, RemoteFailure
from shared.events import Done, DoneReason, Event, PromptProgress, ReasoningDelta, TextDelta, Usage
from shared.messages import Image, Message
from shared.tag_router import StopStrings, TagRouter, tags_for

MAY_BE_LEFT_OUT = ("stream_options", "stop")  # usage is counted and stop strings are enforced here where a server refuses them
log = logging.getLogger(__name__)


class _Shaped:
    """The text of one answer on its way to the reader: stop strings end it, tags become events, a choice is held until it is whole."""

    def __init__(self, router: TagRouter, stops: StopStrings, one_of: tuple[str, ...]) -> None:
        self._router = router
        self._one_of = one_of
        self._choice = ""
        self.stops = stops

    @property
    def raw(self) -> str:
        return self._router.raw

    def push(self, piece: TextDelta | ReasoningDelta | PromptProgress) -> Iterator[Event]:
        if isinstance(piece, TextDelta):
            yield from self._without_choice(self._router.push(self.stops.push(piece.text)))
        else:
            yield piece

    def finish(self) -> Iterator[Event]:
        """The end of a whole answer. Raises `RemoteFailure` where it is none of the choices."""
        yield from self._without_choice(itertools.chain(self._router.push(self.stops.finish()), self._router.finish()))
        if self._one_of:
            yield TextDelta(read_choice(self._choice, self._one_of))

    def break_off(self) -> Iterator[Event]:
        """What was held back of an answer that was cut: only its text, because half a tool call is none."""
        for event in self._without_choice(itertools.chain(self._router.push(self.stops.finish()), self._router.finish())):
            if isinstance(event, TextDelta | ReasoningDelta):
                yield event

    def _without_choice(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if self._one_of and isinstance(event, TextDelta):
                self._choice += event.text
            else:
                yield event


class OpenAIRemote:
    def __init__(self, spec: ModelSpec, endpoint: Endpoint) -> None:
        self._spec = spec
        self._endpoint = endpoint
        self._dialect = chatml.DIALECTS.get(spec.dialect, chatml.CHATML)
        self._tls = httpx.create_ssl_context()
        self._server: Server | None = None
        self._left_out: set[str] = set()
        self._counts: bool | None = None  # whether the server counts tokens without generating; None until tried
        self._calls: set[Call] = set()
        self._lock = threading.Lock()
        self._closed = False

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:  # fmt: skip
        cancel, began, first, answer = Cancel() if cancel is None else cancel, time.monotonic(), 0.0, Answer(tools)
        shaped = _Shaped(TagRouter(tags_for(self._dialect, tools=bool(tools))), StopStrings(sampling.stop), sampling.one_of)
        conversation = self._conversation(messages, tools)
        with self._call(cancel) as call:
            try:
                for piece in self._pieces(call, conversation, sampling, answer):
                    first = first or (time.monotonic() - began if answer.pieces else 0.0)
                    yield from shaped.push(piece)
                    if shaped.stops.hit:
                        break
                reason = self._reason(call, answer, shaped.stops)
            except Cancelled:
                reason = "cancelled"
            except DemoError:
                yield from shaped.break_off()
                raise
        if reason == "cancelled":
            yield from shaped.break_off()
        else:
            yield from shaped.finish()
            yield from answer.calls()
        usage = Usage(answer.prompt_tokens, answer.cached_tokens, answer.output_tokens, first, time.monotonic() - began)
        yield Done(reason, usage, shaped.raw + answer.raw_calls())

    def count(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> int:
        """Asked of the server: vLLM and llama.cpp count a conversation themselves. The others (LMDeploy, SGLang, OpenAI)
        are made to generate one token and asked for the prompt's length, which may cost money."""
        conversation = self._conversation(messages, tools)
        pictures = any(isinstance(part, Image) for message in messages for part in message.parts)
        with self._call(Cancel()) as call:
            with self._explained(call):
                server = self._known(call)
            if server.software in ("vllm", "llamacpp") and self._counts is not False and not pictures:
                counted = self._counted(call, server, conversation)
                self._counts = counted is not None
                if counted is not None:
                    return counted
            answer = Answer()
            for _ in self._pieces(call, conversation, Sampling(max_tokens=1), answer):
                pass
            self._reason(call, answer, StopStrings(()))
        if not answer.prompt_tokens:
            raise RemoteFailure(f"{self._endpoint.where} does not say how long a prompt is.", "Use a server that sends usage.")
        return answer.prompt_tokens

    def prompt_text(self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = ()) -> str:
        """The JSON that is sent, but for the bytes of pictures: what the server makes of it, only the server knows."""
        return shortened(json.dumps(self._conversation(messages, tools), ensure_ascii=False, indent=1))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            calls = list(self._calls)
        for call in calls:
            call.end()

    @contextmanager
    def _call(self, cancel: Cancel) -> Iterator[Call]:
        call = Call(self._endpoint, self._tls)
        with self._lock:
            self._calls.add(call)
        forget = cancel.subscribe(call.end)
        try:
            with call:
                self._check_open()
                yield call
        finally:
            forget()
            with self._lock:
                self._calls.discard(call)

    def _check_open(self) -> None:
        if self._closed:
            raise ModelUnavailable(f"{self._spec.id} was closed.", "Ask again.")

    def _conversation(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> dict[str, Any]:
        if not messages:
            raise BadRequest("There is nothing to answer.", "Write a message first.")
        messages = chatml.with_default_system(messages, self._spec.default_system)
        if "image" not in self._spec.capabilities and any(isinstance(part, Image) for message in messages for part in message.parts):
            raise BadRequest(f"{self._spec.id} does not look at pictures.", "Choose a model that does, or leave the picture out.")
        wire: dict[str, Any] = {"messages": messages_to_wire(messages)}
        if tools:
            wire["tools"] = tools_to_wire(tools)
        if messages[-1].role == "assistant" and not self._endpoint.prefill:
            raise BadRequest(
                f"{self._spec.id} cannot continue an answer that was begun.",
                'Send a message instead; where the server can, its model in a catalog file has the option prefill = "native".',
            )
        if messages[-1].role == "assistant" and self._endpoint.prefill == "continue_final_message":
            wire["extra_body"] = {"continue_final_message": True, "add_generation_prompt": False}
        return wire

    def _pieces(
        self, call: Call, conversation: Mapping[str, Any], sampling: Sampling, answer: Answer
    ) -> Iterator[TextDelta | ReasoningDelta | PromptProgress]:
        """What `answer` reads from the server, until it ends or `call` is ended. Raises every failure as a `DemoError`."""
        with self._explained(call):
            server = self._known(call)
            stream = self._open(call, self._request(server, conversation, sampling))
            media = stream.response.headers.get("content-type", "")
            if "text/event-stream" not in media:
                raise not_openai(self._asked(), f"it sent {media.partition(';')[0] or 'nothing'} where a stream was asked for")
            try:
                for chunk in stream:
                    yield from answer.read(chunk.to_dict(mode="json", warnings=False) if isinstance(chunk, openai.BaseModel) else chunk)
                    if call.ended.is_set():
                        return
            except openai.APIConnectionError:
                if not answer.finish:  # cut after its end, only the usage is missing
                    raise

    def _request(self, server: Server, conversation: Mapping[str, Any], sampling: Sampling) -> dict[str, Any]:
        official = self._endpoint.url.startswith("https://api.openai.com/")
        wire = sampling_to_wire(sampling, extra=self._endpoint.extra, software=server.software, official=official)
        extra = {**wire.pop("extra_body", {}), **conversation.get("extra_body", {})}
        if server.software == "llamacpp":
            extra["return_progress"] = True
        request = {**wire, **conversation, "model": self._model(server), "stream_options": {"include_usage": True}}
        return {**request, "extra_body": extra} if extra else request

    def _open(self, call: Call, request: dict[str, Any]) -> openai.Stream[Any]:
        """The stream. What only helps the server, and is refused by it, is left out from then on."""
        while True:
            asked = {name: value for name, value in request.items() if name not in self._left_out}
            try:
                return call.patiently(lambda: call.client.chat.completions.create(stream=True, **asked))  # noqa: B023
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                text = server_text(error, self._endpoint.key)
                refused = next((name for name in MAY_BE_LEFT_OUT if name in asked and re.search(rf"\b{name}\b", text)), None)
                if refused is None:
                    raise
                log.info("%s does not take %s: it is left out from now on", self._endpoint.where, refused)
                self._left_out.add(refused)

    def _known(self, call: Call) -> Server:
        """What the server says of itself, asked once. A server without such a list is fine as long as a model was named."""
        if self._server is None:
            try:
                self._server = read_server(call.patiently(lambda: call.client.get("/models", cast_to=object)))
            except (openai.NotFoundError, ValueError) as error:
                if not self._endpoint.model:
                    raise not_openai(self._asked(), "it has no list of models") from error
                self._server = Server("", ())
        return self._server

    def _model(self, server: Server) -> str:
        if not self._endpoint.model and not server.models:
            raise ModelUnavailable(f"{self._endpoint.where} offers no model.", "Start the server with one, or name one with --api-model.")
        return self._endpoint.model or server.models[0]

    def _counted(self, call: Call, server: Server, conversation: Mapping[str, Any]) -> int | None:
        """The prompt's length by the server's own route; None where it has no such route."""
        root = self._endpoint.url.removesuffix("/").removesuffix("/v1")
        asked = {**conversation, **conversation.get("extra_body", {}), "model": self._model(server)}
        asked.pop("extra_body", None)

        def post(path: str, body: Mapping[str, Any]) -> Any:
            return call.patiently(lambda: call.client.post(root + path, cast_to=object, body=body))

        with self._explained(call):
            try:
                if server.software == "vllm":
                    return int(post("/tokenize", asked)["count"])
                prompt = post("/apply-template", asked)["prompt"]
                return len(post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"])
            except (openai.NotFoundError, KeyError, TypeError):
                return None

    @contextmanager
    def _explained(self, call: Call) -> Iterator[None]:
        """The client's failures as `DemoError`s; those that came from ending the request on purpose as `Cancelled`."""
        try:
            yield
        except (openai.OpenAIError, ValueError) as error:
            self._check_open()
            if call.ended.is_set():
                raise Cancelled from error
            raise explain(error, self._asked()) from error

    def _asked(self) -> Asked:
        endpoint, server = self._endpoint, self._server or Server("", ())
        return Asked(endpoint.where, endpoint.model, endpoint.key, endpoint.timeout, server.models)

    def _reason(self, call: Call, answer: Answer, stops: StopStrings) -> DoneReason:
        self._check_open()
        if stops.hit:
            return "stop"
        return "cancelled" if call.ended.is_set() and not answer.finish else answer.reason()


def load(spec: ModelSpec, path: Path | None, *, on_progress: OnProgress, cancel: Cancel) -> OpenAIRemote:
    """`path` is not used: there are no weights. The server is not asked before the first request, so it may start later."""
    return OpenAIRemote(spec, Endpoint.of(spec))
