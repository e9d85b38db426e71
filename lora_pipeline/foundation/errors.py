"""Every exception of the package; imports nothing of it.

Errors hold facts. They never print, never exit and know no exit code. A message names the
thing and the rule that it breaks; the hint names the next command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Violation:
    """One place in a document that breaks a rule.

    Attributes:
        where: JSON path of the place, such as ``$.items[3].caption``; ``$`` is the document.
        message: What is wrong there, in one sentence without a final stop.
    """

    where: str
    message: str

    def __str__(self) -> str:
        """Return ``where: message``."""
        return f"{self.where}: {self.message}"


class PipelineError(Exception):
    """An expected failure: base of all errors that a caller may meet.

    Args:
        message: The thing and the rule, in one line.
        hint: The next command or step, or None where nothing helps.
        source: Where the offending value came from ("--rank on the command line").
        violations: The single places, when a document breaks several rules at once.
    """

    code: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        source: str | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.source = source
        self.violations = tuple(violations)

    def to_dict(self) -> dict[str, object]:
        """Return the error as every face prints it."""
        document: dict[str, object] = {"code": self.code, "message": self.message}
        if self.source:
            document["from"] = self.source
        if self.hint:
            document["hint"] = self.hint
        if self.violations:
            document["violations"] = [
                {"where": one.where, "message": one.message} for one in self.violations
            ]
        return document

    def to_answer(self) -> dict[str, Any]:
        """Return the failure in the shape of ``Result.to_dict``."""
        return {
            "success": False,
            "data": {},
            "error": {"hint": None, **self.to_dict()},
            "reasoning": "",
            "warnings": [],
            "suggestions": [self.hint] if self.hint else [],
            "written": [],
            "dryRun": False,
        }


class ArgumentInvalidError(PipelineError):
    """An argument of an operation breaks its rule."""

    code = "argument_invalid"


class WorkspaceNotFoundError(PipelineError):
    """No workspace was found from the current folder upwards."""

    code = "workspace_not_found"


class SettingsError(PipelineError):
    """A settings file or variable cannot be used."""

    code = "settings_invalid"


class RecordError(PipelineError):
    """Base of errors about one record."""

    code = "record_error"


class RecordNotFoundError(RecordError):
    """A record that was named does not exist."""

    code = "record_not_found"


class RecordExistsError(RecordError):
    """A record that was to be created is there already."""

    code = "record_exists"


class RecordInvalidError(RecordError):
    """A record breaks its schema or a rule between records."""

    code = "record_invalid"


class RecordConflictError(RecordError):
    """A record changed on disk since it was read; nothing was written."""

    code = "record_conflict"


class SchemaVersionError(RecordError):
    """A record names a schema that this version does not know."""

    code = "schema_unknown"


class JsonInvalidError(RecordError):
    """Text is not the strict JSON that records are written in."""

    code = "json_invalid"


class MergeConflictError(RecordError):
    """A file holds unresolved merge markers."""

    code = "merge_conflict"


class IntegrityError(PipelineError):
    """Base of errors about bytes that are not what a record says."""

    code = "integrity"


class DigestMismatchError(IntegrityError):
    """The bytes of a file differ from the digest that names them."""

    code = "digest_mismatch"


class FileMissingError(IntegrityError):
    """A file that a record or an argument names is not there."""

    code = "file_missing"


class UnsafePathError(IntegrityError):
    """A path leaves the folder that it belongs to, or is not portable."""

    code = "unsafe_path"


class ImageRefusedError(IntegrityError):
    """An image cannot be read safely; the message says why."""

    code = "image_refused"


class WeightsRefusedError(IntegrityError):
    """A weights file is not a LoRA that can be used; the message says why.

    Args:
        message: The file, the tensor and the rule.
        rule: Stable slug of the rule that is broken, such as ``truncated`` or ``not_finite``.
        hint: What to do about it.
    """

    code = "weights_refused"

    def __init__(self, message: str, *, rule: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule

    def to_dict(self) -> dict[str, object]:
        """Return the error as every face prints it, with the rule."""
        return super().to_dict() | ({"rule": self.rule} if self.rule else {})


class StorageError(PipelineError):
    """The disk refused: full, read-only, forbidden, broken."""

    code = "storage_failed"


class RemoteStoreError(PipelineError):
    """The remote store did not answer, or not as agreed; the message says what it did."""

    code = "remote_failed"


class RemoteRefusedError(RemoteStoreError):
    """The remote store wants other credentials, or more rights."""

    code = "remote_refused"


class RemoteMissingError(RemoteStoreError):
    """The remote store, or an object in it, does not exist."""

    code = "remote_missing"


class LockedError(PipelineError):
    """Another process holds the workspace lock."""

    code = "locked"


class RepositoryError(PipelineError):
    """Git is missing, or the repository is in a state that forbids the step."""

    code = "git_failed"


class ProcessError(PipelineError):
    """Base of errors about a program that was started."""

    code = "program_failed"


class ProgramNotFoundError(ProcessError):
    """A program is not installed, or not where the settings say."""

    code = "program_not_found"


class ProgramTimedOutError(ProcessError):
    """A program did not end in time and was stopped."""

    code = "program_timed_out"


class ExtraMissingError(PipelineError):
    """A feature needs an optional extra that is not installed."""

    code = "extra_missing"


class ImportSourceError(PipelineError):
    """A file that describes the images of an import cannot be used."""

    code = "import_invalid"


class SelectionEmptyError(PipelineError):
    """A filter left nothing over; the message names that filter."""

    code = "selection_empty"


class CaptionInvalidError(PipelineError):
    """A caption breaks a rule that training depends on."""

    code = "caption_invalid"


class RecipeInvalidError(PipelineError):
    """A training setting breaks its rule; ``source`` says where it came from."""

    code = "recipe_invalid"


class PlanOutdatedError(PipelineError):
    """What was planned is not what would be trained now; the message says what changed."""

    code = "plan_outdated"


class TrainerError(PipelineError):
    """Training did not bring usable weights."""

    code = "training_failed"


class TrainerUnavailableError(TrainerError):
    """The trainer's program is not installed; the hint names the set-up command."""

    code = "trainer_unavailable"


class ServiceError(TrainerError):
    """A service that trains elsewhere did not do what was asked."""

    code = "service_failed"


class ServiceUnreachableError(ServiceError):
    """It gave no answer, or one that passes: the same question may be answered later."""

    code = "service_unreachable"


class ServiceRefusedError(ServiceError):
    """It answered, and the answer is no, or no answer that can be used."""

    code = "service_refused"


class JobInDoubtError(ServiceError):
    """It was asked to create a job, and nobody but a person can say whether there is one."""

    code = "job_in_doubt"


class RendererError(PipelineError):
    """A renderer did not bring usable images."""

    code = "render_failed"


class EncoderError(PipelineError):
    """A model that looks at pictures could not be loaded, or gave no answer."""

    code = "encoder_failed"


class EvaluationIncompleteError(PipelineError):
    """A verdict or a decision was asked for before the grid was complete."""

    code = "evaluation_incomplete"


class StateError(PipelineError):
    """The thing exists, but its present state forbids the step."""

    code = "state_forbids"


class OperationCancelledError(PipelineError):
    """The work was cancelled; what was done so far is kept."""

    code = "cancelled"
