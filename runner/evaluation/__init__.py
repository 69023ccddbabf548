"""Evaluation: metrics, arms compared on the same items, and the claims of a source answered from a finished run.

Importing this package imports nothing heavy; ``scoring`` and ``metrics`` do.
"""

from runner.evaluation.claims import Verdict, answer_checks, answer_claims
from runner.evaluation.names import MetricName, expand

__all__ = ["MetricName", "Verdict", "answer_checks", "answer_claims", "expand"]
