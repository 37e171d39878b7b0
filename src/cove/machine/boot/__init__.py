# SPDX-License-Identifier: Apache-2.0
"""`cove boot`: any image, on any driver, with its console in the terminal; no agent and no supervisor."""
