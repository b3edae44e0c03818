"""Pools of the holder's zone first, then the one with the most free addresses. Columns in, row indexes out."""

import json

from wit_world import exports
from wit_world.exports.lifecycle import Description
from wit_world.exports.select import Decision_Abstain, Decision_Ranked
from wit_world.imports import host

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"preferZone": {"description": "Pools of the holder's zone first", "type": "boolean"}},
}
IN_ZONE = 2
FAMILIES = (4, 6)
MOST = 8

settings = {"preferZone": True}


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return Description("emptiest-python", "0.1.0", json.dumps(SCHEMA), [])

    def validate_settings(self, text):
        return []

    def init(self, text):
        settings.update(json.loads(text))


class Select(exports.Select):
    def select(self, request, candidates):
        def key(row):
            zone = settings["preferZone"] and candidates.bits[row] & IN_ZONE
            return (not zone, -candidates.free[row], row)

        ranked = []
        for bit, family in enumerate(FAMILIES):
            if request.families >> bit & 1:
                rows = (row for row, of in enumerate(candidates.family) if of == family)
                ranked += sorted(rows, key=key)[:MOST]
        if not ranked:
            return Decision_Abstain()
        name = host.pool_name(candidates.pool[ranked[0]])
        host.log(host.Level.DEBUG, f"{name} comes first")
        return Decision_Ranked(ranked)
