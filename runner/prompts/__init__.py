"""Prompt templates: sandboxed Jinja files whose closure, variables and cost are known. Text that is passed in is never rendered."""

from __future__ import annotations

from runner.prompts.template import Template, inline, load

__all__ = ["Template", "inline", "load"]
