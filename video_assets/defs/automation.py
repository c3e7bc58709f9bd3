"""When downstream assets are made without anyone asking: the conditions, and the sensor that evaluates them."""

from __future__ import annotations

from typing import Any, cast

import dagster as dg

from video_assets.defs.partitions import GROUP


def _on_changed_content(condition: Any, label: str) -> dg.AutomationCondition[Any]:
    """A materialization that says the same as before is no news.

    The label must be the string: given the condition itself, the reset side is replaced too, and every partition is
    requested at every tick.
    """
    changed: Any = condition.replace("newly_updated", dg.AutomationCondition.data_version_changed())
    return cast("dg.AutomationCondition[Any]", changed.with_label(label))


_ON_ANY_DATE = (
    # Something upstream was updated, or this partition was never made; nothing upstream is missing or in progress; it
    # is not in progress itself, and was not requested since.
    dg.AutomationCondition.eager()
    # eager() looks at the latest day only; vehicles upload late.
    .without(dg.AutomationCondition.in_latest_time_window())
)

REFRESH_ON_NEW_DATA = _on_changed_content(_ON_ANY_DATE, "refresh_on_new_data")
"""For assets of one vehicle's day."""

ROLL_UP_ON_NEW_DATA = _on_changed_content(
    # Otherwise the fleet's day would wait until every vehicle has sent something.
    _ON_ANY_DATE.without(~dg.AutomationCondition.any_deps_missing()),
    "roll_up_on_new_data",
)
"""For assets of the fleet's day."""

EVERY_HOUR = (dg.AutomationCondition.cron_tick_passed("0 * * * *") & ~dg.AutomationCondition.in_progress()).with_label(
    "every_hour"
)
"""For what is read from the source as a whole."""

refresh_sensor = dg.AutomationConditionSensorDefinition(
    "refresh",
    target=dg.AssetSelection.groups(GROUP),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Makes what has newer data upstream, on any date.",
)
