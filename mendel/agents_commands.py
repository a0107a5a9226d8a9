"""The command `mcp`: cli.py gives it its name. The lab for agents, over the Model Context Protocol."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from mendel.campaign.config import ConfigError, read_settings
from mendel.campaign.session import MissingExtra
from mendel.recipe_commands import open_store


def mcp(
    *,
    agent: str = "agent",
    http: str | None = None,
    token_file: Path | None = None,
    ablation_runs: int = 200,
) -> None:
    """Let agents such as Claude Code read the lab, propose ideas and wait for verdicts (an MCP server).

    Parameters
    ----------
    agent
        Proposer of the ideas it adds; they count as written by a machine.
    http
        HOST:PORT on this machine to serve over HTTP; default: standard input and output.
    token_file
        File with the token that HTTP clients send (default: MENDEL_MCP_TOKEN, else a new one is printed).
    ablation_runs
        Most runs of an ablation that may be asked for.
    """
    if find_spec("mcp") is None:
        raise MissingExtra("mcp: 'mcp' is not installed; to serve agents: pip install 'mendel[mcp]'")
    from mendel.agents.desk import Desk
    from mendel.agents.server import serve, serve_http
    from mendel.agents.token import VARIABLE, read_address, read_token
    from mendel.ideas import WRITTEN_BY_PEOPLE

    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,59}", agent) or agent in WRITTEN_BY_PEOPLE:
        raise ConfigError(
            f"command line: agent: {agent!r:.80} is not allowed; give a name in lower case that is none of "
            f"{', '.join(WRITTEN_BY_PEOPLE)}"
        )
    address = None if http is None else read_address(http)
    with open_store() as store:
        desk = Desk(store, read_settings(), agent, ablation_runs)
        if address is None:
            serve(desk)
            return
        token, new = read_token(token_file)
        if new:
            print(f"mendel: {VARIABLE}={token}", file=sys.stderr, flush=True)
        serve_http(desk, *address, token)
