# SPDX-License-Identifier: Apache-2.0
"""From facts to findings, all of them. Pure."""

from __future__ import annotations

from cove.machine.doctor.facts import Examined
from cove.machine.doctor.finding import NETWORK, Examination, ordered
from cove.machine.doctor.host_checks import check_host
from cove.machine.doctor.machine_checks import check_machines
from cove.machine.doctor.network_checks import check_clients, check_network
from cove.machine.doctor.place_checks import check_places

_ROUNDS = (check_host, check_places, check_network, check_clients, check_machines)


def examine(facts: Examined) -> Examination:
    """What is wrong, and what was not looked at."""
    findings = ordered([finding for check in _ROUNDS for finding in check(facts)])
    skipped: dict[str, str] = {}
    if facts.names.silent is None:
        skipped |= dict.fromkeys(NETWORK, "it asks the network: --network")
        if any(proxy.trouble is None and proxy.address for proxy in facts.proxies):
            skipped["proxy-unreachable"] = "it asks the network: --network"
    if facts.host.kvm == "openable" and facts.host.kvm_works is None:
        skipped["kvm-unusable"] = "no kernel has been booted under KVM yet: cove create does"
    return Examination(findings=findings, skipped=skipped)
