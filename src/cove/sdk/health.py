# SPDX-License-Identifier: Apache-2.0
"""What is wrong with this host and its machines: ``cove doctor``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cove.machine.doctor.finding import Examination
    from cove.sdk.installation import Installation


def examine(installation: Installation, *, network: bool) -> Examination:
    """Look at everything; see :meth:`cove.sdk.client.Client.examine`."""
    from cove.machine.doctor.examine import examine as judge
    from cove.machine.doctor.gather import gather

    return judge(gather(installation.store, os.environ, ask_network=network))
