"""What other programs' agents may do in the lab: read it, propose ideas, wait for what became of them.

`sight` decides what an agent may see; `reading`, `source`, `query`, `writing` and `watching` are the tools,
plain functions on a `Desk`; `server` offers them over the Model Context Protocol, and `token` guards its HTTP
door. `docs/mcp.md` shows how to connect.
"""
