"""When downstream assets are made without anyone asking: the conditions, and the sensor that evaluates them."""

from __future__ import annotations

from typing import Any, cast

import dagster as dg

from video_assets.defs.partitions import GROUP
from video_assets.tables import FLEET_WINDOWS


def _on_changed_content(condition: Any, label: str) -> dg.AutomationCondition[Any]:
    """`any_deps_updated` by data version: a materialization that says the same as before is no news.

    The label must be the string: given the condition itself, the reset side is replaced too, and every partition is
    requested at every tick.
    """
    changed: Any = condition.replace("newly_updated", dg.AutomationCondition.data_version_changed())
    return cast("dg.AutomationCondition[Any]", changed.with_label(label))


_ON_ANY_DATE = (
    # A partition is asked for when all of these hold:
    # - any_deps_updated or newly_missing, since it was last asked for or made: there is news upstream, or it was never
    #   made. An update in the tick after a request counts as handled by it, though the run may have read what was there
    #   before; the reconciler finds those (reconciler.py).
    # - not any_deps_missing: what it is made of is there; a run would only fail.
    # - not any_deps_in_progress: what it is made of is being made; one run after that instead of one now as well.
    # - not in_progress: a run of it waits or works; two would wait for each other.
    dg.AutomationCondition.eager()
    # - in_latest_time_window, which is left out: vehicles upload late, and any date may have news.
    .without(dg.AutomationCondition.in_latest_time_window())
)

REFRESH_ON_NEW_DATA = _on_changed_content(
    # Rows that are wrong do not flow on: the run that made them ended there, and so would nothing here begin. Blocking
    # checks are part of the asset's own step, so that none is ever left out.
    _ON_ANY_DATE & dg.AutomationCondition.all_deps_blocking_checks_passed(),
    "refresh_on_new_data",
)
"""For assets of one vehicle's day."""

REFRESH_ON_FETCHED_BAGS = _on_changed_content(
    # Its other parent, the uploads, is watched by the upload sensor, and most days of a fleet's API have none.
    _ON_ANY_DATE.allow(dg.AssetSelection.assets(FLEET_WINDOWS.name)),
    "refresh_on_fetched_bags",
)
"""For the manifest of what a fleet's batch API gave."""

ROLL_UP_ON_NEW_DATA = _on_changed_content(
    # Of the fleet's day most vehicles are missing for ever: it would wait until each has sent something.
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
