"""The job and schedule that collect garbage."""

import time
from typing import Any

import dagster as dg
from pydantic import Field

from video_assets.defs.resources import deployment
from video_assets.stages.garbage import GRACE_H, Count, collect_garbage, in_words, total
from video_assets.storage.registry import open_store


class GarbageConfig(dg.Config):
    """What a collection takes."""

    grace_h: float = Field(GRACE_H, description="Hours that something must have lain unused.")
    dry_run: bool = Field(False, description="Take nothing; say in the log and metadata what would be taken.")


@dg.op(description="Takes blobs and records that no table names and that are older than the grace time (hours).")
def take_garbage(context: dg.OpExecutionContext, config: GarbageConfig) -> dg.Output[None]:
    settings, tables = deployment()
    begun = time.monotonic()
    counts = collect_garbage(
        tables,
        open_store(settings.store),
        grace_h=config.grace_h,
        dry_run=config.dry_run,
        report=context.log.info,
    )
    context.log.info(in_words(counts, dry_run=config.dry_run))
    return dg.Output(None, metadata={**_metadata(counts), "seconds": round(time.monotonic() - begun, 3)})


@dg.job(
    name="collect_garbage",
    description="Takes blobs and records that no table names: of uploads that were overwritten, of settings that were "
    "changed, of runs that died.",
    executor_def=dg.in_process_executor,
)
def garbage_job() -> None:
    take_garbage()


garbage_schedule = dg.ScheduleDefinition(
    name="collect_garbage",
    job=garbage_job,
    cron_schedule="30 3 * * 0",
    # Off until someone turns it on: it deletes, and a setting changed back or an earlier upload restored costs no work
    # only as long as what they made is there. How long that shall be is the deployment's to say.
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Takes what no table names any more, every Sunday at 3:30, once it is turned on.",
)


def _metadata(counts: list[Count]) -> dict[str, Any]:
    objects, size = total(counts, taken=True)
    kept = {f"kept_{reason.replace(' ', '_')}": 0 for reason in sorted({c.reason for c in counts if not c.taken})}
    for count in counts:
        if not count.taken:
            kept[f"kept_{count.reason.replace(' ', '_')}"] += count.objects
    rows = [
        dg.TableRecord(
            {
                "table": count.table,
                "kind": count.kind,
                "taken": count.taken,
                "reason": count.reason,
                "objects": count.objects,
                "bytes": count.size_bytes,
            }
        )
        for count in counts
    ]
    table = {"counts": dg.MetadataValue.table(rows)} if rows else {}
    return {"objects": objects, "bytes": size, **kept, **table}
