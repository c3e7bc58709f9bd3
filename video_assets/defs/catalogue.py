"""The sensor on a catalogue's records, where VIDEO_ASSETS_CATALOGUE_URL names one."""

from __future__ import annotations

from dataclasses import dataclass, field

import dagster as dg

from video_assets.defs.jobs import chain_job
from video_assets.defs.launch import RAW_UPLOADS
from video_assets.defs.partitions import dates, vehicles
from video_assets.defs.resources import deployment
from video_assets.defs.sensors import MAX_QUEUED_RUNS, queued_runs
from video_assets.errors import VideoAssetsError
from video_assets.keys import Partition, content_id
from video_assets.sources.catalogue.catalogue import open_database
from video_assets.sources.catalogue.news import NewRecord, News, NewsCursor
from video_assets.sources.catalogue.records import Places

RECORDS_OF_A_TICK = 1000
RUNS_OF_A_TICK = 50


@dg.sensor(
    name="catalogue",
    job=chain_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Looks for records that came or changed, or are due again, and runs the chain for their days.",
)
def catalogue_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    settings, _ = deployment()
    queued = queued_runs(context.instance)
    if queued >= MAX_QUEUED_RUNS:
        return dg.SkipReason(f"{queued} runs are queued, so no more are asked for")
    try:
        with open_database(settings, away_s=0) as database:
            before = NewsCursor.parse(context.cursor)
            news = News(database, before, RECORDS_OF_A_TICK, settings.max_attempts)
            taken = _take(news, Places(settings))
    except VideoAssetsError as error:
        # The cursor stays as it was.
        return dg.SkipReason(str(error))
    if taken.faults:
        context.log.warning(f"{len(taken.faults)} records cannot be used, e.g. {taken.faults[0]}")
    cursor = news.cursor.dump()
    if not taken.partitions:
        return dg.SensorResult(skip_reason=dg.SkipReason(taken.text), cursor=cursor)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(taken.run_key(partition), partition_key=partition.key) for partition in taken.partitions
        ],
        dynamic_partitions_requests=[vehicles.build_add_request(sorted({str(p.vehicle) for p in taken.partitions}))],
        asset_events=[
            dg.AssetMaterialization(RAW_UPLOADS, partition=partition.key, metadata={"records": len(records)})
            for partition, records in taken.partitions.items()
        ],
        cursor=cursor,
    )


@dataclass
class _TakenNews:
    """The records of a tick by partition, and those that name none."""

    partitions: dict[Partition, list[NewRecord]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run_key(self, partition: Partition) -> str:
        """Another for each change of the partition's records."""
        parts = (f"{new.record.id} {new.at}" for new in self.partitions[partition])
        return f"{partition.key}:{content_id('records', *parts)}"

    @property
    def text(self) -> str:
        """Why nothing is asked for."""
        return f"no new records{f'; {len(self.faults)} cannot be used, e.g. {self.faults[0]}' if self.faults else ''}"


def _take(news: News, places: Places) -> _TakenNews:
    taken, days = _TakenNews(), {*dates.get_partition_keys()}
    for new in news:
        try:
            partition = places.partition(new.record)
        except VideoAssetsError as error:
            taken.faults.append(f"{error.item} {error.cause}")
            continue
        if partition.date not in days:
            taken.faults.append(f"record {new.record.code!r} is of {partition.date}, a day that has no partitions")
            continue
        if partition not in taken.partitions and len(taken.partitions) == RUNS_OF_A_TICK:
            news.leave()
            break
        taken.partitions.setdefault(partition, []).append(new)
    return taken
