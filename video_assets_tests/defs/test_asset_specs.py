"""Every asset's spec, so that a change of the graph is a readable diff. After a change: pytest --snapshot-update."""

from __future__ import annotations

from typing import Any

import dagster as dg
from syrupy.assertion import SnapshotAssertion

from video_assets.definitions import defs
from video_assets.tables import BY_NAME


def spec_of(spec: dg.AssetSpec) -> dict[str, Any]:
    return {
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "description": spec.description,
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "code_version": spec.code_version,
        "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
        "condition": spec.automation_condition.get_label() if spec.automation_condition else None,
        "columns": [column.name for column in spec.metadata["dagster/column_schema"].columns]
        if "dagster/column_schema" in spec.metadata
        else None,
    }


def test_asset_specs(snapshot: SnapshotAssertion) -> None:
    specs = {spec.key.to_user_string(): spec_of(spec) for spec in defs.resolve_all_asset_specs()}
    assert dict(sorted(specs.items())) == snapshot


def test_check_specs(snapshot: SnapshotAssertion) -> None:
    graph = defs.resolve_asset_graph()
    assert sorted(key.to_user_string() for key in graph.asset_check_keys) == snapshot


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_asset_but_the_uploads_is_a_table() -> None:
    names = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    # Without a fleet's batch API there is nothing to ask for windows.
    assert names | {"fleet_windows"} == {"raw_uploads", *BY_NAME}


def test_no_asset_body_is_longer_than_a_screen() -> None:
    import ast
    from pathlib import Path

    folder = Path(__file__).parents[2] / "video_assets" / "defs" / "assets"
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.body[0].lineno + 1 <= 30, f"{path.name}: {node.name}"


def test_resources_hold_no_secret_in_their_configuration() -> None:
    for name, resource in defs.resources.items() if defs.resources else []:
        schema = getattr(resource, "config_schema", None)
        assert not schema or "key" not in str(schema.as_field()).lower(), name
