"""Modal's control plane, small and on loopback, speaking gRPC as its own client does.

Apps, volumes, images and sandboxes are answered with the messages that ship with the client
(``modal_proto``). What a volume holds is given out over HTTP, block by block. A sandbox that is
looked at often enough has left what ``ai_toolkit_start`` leaves.
"""

# ruff: noqa: ARG002, N802 - the calls are named as Modal names them and all take the same
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.support import fake_trainer
from tests.support.fake_web_service import Asked, FakeWebService, running

SECRET = "as-" + "FAKE0FAKE1FAKE2"
_TOKEN = "x.eyJleHAiOjQ4MDAwMDAwMDB9.y"  # an expiry far away; nothing else is read


@dataclass
class FakeModal(FakeWebService):
    """The account's state, and what tests tell it; the HTTP part serves blocks of files.

    Attributes:
        looks: How often a sandbox is looked at before it has ended.
        ends: Exit status of its program; None ends it without a word.
        log: What its program printed.
        weights: What the final file holds.
        promised: Digest that is told for it, when not its own.
        sandboxes: Definitions of sandboxes by name, as they were asked for.
        running: Names of those that run.
        files: The volume.
        calls: Name of every call, in order.
        failing: How the next calls of a name fail: a gRPC status, or ``lost`` (done, no answer).
    """

    looks: int = 2
    ends: int | None = 0
    log: str = (
        "# Running job\nlora:  50%|###  | 2/4 [00:01<00:01, 1.1it/s, lr: 1e-04 loss: 5.0e-01]"
    )
    weights: bytes = field(default_factory=lambda: fake_trainer.weights("good"))
    promised: str = ""
    sandboxes: dict[str, Any] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    made: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failing: dict[str, list[str]] = field(default_factory=dict)
    url: str = ""

    def forget(self) -> None:
        """Begin anew, at the same addresses."""
        for kept in (
            self.sandboxes, self.running, self.contents, self.files, self.failing, self.faults,
        ):  # fmt: skip
            kept.clear()
        self.calls.clear()
        fresh = FakeModal()
        self.looks, self.ends, self.log, self.made = fresh.looks, fresh.ends, fresh.log, 0
        self.promised, self.weights = "", fresh.weights

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return a block of a file."""
        data = self.files.get(asked.path.removeprefix("/block/"))
        return (200, data) if data is not None else (404, {"error": "expired"})

    def end(self, name: str) -> None:
        """Let a sandbox end and leave what its program leaves."""
        self.running.pop(name, None)
        if self.ends is None:
            return
        out = f"{name}/out"
        self.files[f"{out}/log.txt"] = self.log.encode()
        rows = []
        if self.ends == 0:
            self.files[f"{out}/{name}.safetensors"] = self.weights
            digest = self.promised or hashlib.sha256(self.weights).hexdigest()
            size = len(self.weights)
            rows = [{"name": f"{name}.safetensors", "bytes": size, "sha256": digest, "step": None}]
        self.files[f"{out}/files.json"] = json.dumps({"files": rows}).encode()
        ended = {"status": self.ends, "seconds": 1800}
        self.files[f"{out}/ended.json"] = json.dumps(ended).encode()

    # What the calls do; each returns the message that answers

    def reply(self, call: str, request: Any) -> Any:
        """Return the answer to a call, or raise as gRPC does."""
        from modal_proto import api_pb2 as proto

        ready = proto.GenericResult(status=proto.GenericResult.GENERIC_STATUS_SUCCESS)
        fixed = {
            "ClientHello": proto.ClientHelloResponse,
            "AuthTokenGet": lambda: proto.AuthTokenGetResponse(token=_TOKEN),
            "AppGetOrCreate": lambda: proto.AppGetOrCreateResponse(app_id="ap-1"),
            "VolumeGetOrCreate": lambda: proto.VolumeGetOrCreateResponse(
                volume_id=f"vo-{request.deployment_name}", version=1
            ),
            "EnvironmentGetOrCreate": lambda: proto.EnvironmentGetOrCreateResponse(
                environment_id="en-1",
                metadata=proto.EnvironmentMetadata(
                    name="main", settings=proto.EnvironmentSettings(image_builder_version="2024.10")
                ),
            ),
            "ImageGetOrCreate": lambda: proto.ImageGetOrCreateResponse(
                image_id="im-1", result=ready, metadata=proto.ImageMetadata()
            ),
        }
        if call in fixed:
            return fixed[call]()
        return getattr(self, f"_{call}", self._unknown)(proto, request)

    def _unknown(self, proto: Any, request: Any) -> Any:
        raise _grpc_error("UNIMPLEMENTED", type(request).__name__)

    def _MountPutFile(self, proto: Any, request: Any) -> Any:
        if request.data:
            self.contents[request.sha256_hex] = bytes(request.data)
        return proto.MountPutFileResponse(exists=request.sha256_hex in self.contents)

    def _VolumePutFiles(self, proto: Any, request: Any) -> Any:
        for file in request.files:
            self.files[file.filename.lstrip("/")] = self.contents[file.sha256_hex]
        from google.protobuf.empty_pb2 import Empty

        return Empty()

    def _VolumePutFiles2(self, proto: Any, request: Any) -> Any:
        return self._VolumePutFiles(proto, request)

    def _VolumeGetFile2(self, proto: Any, request: Any) -> Any:
        data = self.files.get(request.path.lstrip("/"))
        if data is None:
            raise _grpc_error("NOT_FOUND", "no such file")
        where = f"{self.address}/block/{quote(request.path.lstrip('/'))}"
        return proto.VolumeGetFile2Response(
            get_urls=[where] if data else [], size=len(data), start=0, len=len(data)
        )

    def _SandboxCreate(self, proto: Any, request: Any) -> Any:
        name = request.definition.name
        if name in self.running:
            raise _grpc_error("ALREADY_EXISTS", "a sandbox of this name runs")
        self.made += 1
        self.sandboxes[name], self.running[name] = request.definition, 0
        return proto.SandboxCreateResponse(sandbox_id=_id_of(name))

    def _SandboxGetFromNameV2(self, proto: Any, request: Any) -> Any:
        raise _grpc_error("NOT_FOUND", "no sandbox of this name runs")  # those with a GPU are V1

    def _SandboxGetFromName(self, proto: Any, request: Any) -> Any:
        name = request.sandbox_name
        if name not in self.running:
            raise _grpc_error("NOT_FOUND", "no sandbox of this name runs")
        self.running[name] += 1
        if self.running[name] > 1:
            self.files[f"{name}/out/log.txt"] = self.log.encode()
        if self.running[name] > self.looks:
            self.end(name)
            raise _grpc_error("NOT_FOUND", "no sandbox of this name runs")
        return proto.SandboxGetFromNameResponse(sandbox_id=_id_of(name))

    def _SandboxGetTaskId(self, proto: Any, request: Any) -> Any:
        return proto.SandboxGetTaskIdResponse(task_id="ta-1")

    def _SandboxWait(self, proto: Any, request: Any) -> Any:
        return proto.SandboxWaitResponse()

    def _SandboxTerminate(self, proto: Any, request: Any) -> Any:
        for name in [one for one in self.running if _id_of(one) == request.sandbox_id]:
            del self.running[name]
        return proto.SandboxTerminateResponse()


def _id_of(name: str) -> str:
    return "sb-" + hashlib.sha256(name.encode()).hexdigest()[:22]


def _grpc_error(status: str, words: str) -> Any:
    import grpclib
    from grpclib.const import Status

    return grpclib.GRPCError(Status[status], words)


def _handler(modal: FakeModal, call: str) -> Any:
    async def handle(_: Any, stream: Any) -> None:
        request = await stream.recv_message()
        modal.calls.append(call)
        faults = modal.failing.get(call, [])
        fault = faults.pop(0) if faults else ""
        if fault and fault != "lost":
            raise _grpc_error(fault, f"no, says {SECRET}")
        if call != "ClientHello" and stream.metadata.get("x-modal-token-secret") != SECRET:
            raise _grpc_error("UNAUTHENTICATED", "Token validation failed")
        reply = modal.reply(call, request)
        if fault == "lost":
            raise _grpc_error("INTERNAL", "the answer is lost")
        await stream.send_message(reply)

    return handle


@contextlib.contextmanager
def running_modal() -> Iterator[FakeModal]:
    """Run the control plane and the blocks on free ports for the time of the block."""
    from grpclib.server import Server
    from modal_proto import api_grpc

    modal = FakeModal()
    base = api_grpc.ModalClientBase
    calls = {name: _handler(modal, name) for name in base.__abstractmethods__}
    service = type("Service", (base,), calls)()
    loop, ready = asyncio.new_event_loop(), threading.Event()

    connections: list[Any] = []

    class Noting(Server):  # type: ignore[misc]
        """Keeps its connections, to close them: clients hold on to theirs."""

        def _protocol_factory(self) -> Any:
            protocol = super()._protocol_factory()
            made = protocol.connection_made

            def connection_made(transport: Any) -> None:
                connections.append(transport)
                made(transport)

            protocol.connection_made = connection_made
            return protocol

    async def serve() -> Any:
        server = Noting([service])
        await server.start("127.0.0.1", 0)
        sockets = server._server.sockets
        modal.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        ready.set()
        return server

    def work() -> None:
        server = loop.run_until_complete(serve())
        loop.run_forever()
        server.close()
        for one in [*server._handlers, *connections]:
            one.close()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        with running(modal):
            yield modal
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
