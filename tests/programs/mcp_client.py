"""Two clients made with the Python SDK of the Model Context Protocol; one gives its call up.

    python3 mcp_client.py URL

Writes one line of JSON: what both saw.
"""

import json
import sys

import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def client(url, leaves, seen):
    async with streamable_http_client(url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            progress = []
            scope = anyio.CancelScope()

            async def told(done, total, message):
                progress.append(done)
                if leaves:
                    scope.cancel()

            result = "cancelled"
            with scope:
                arguments = {"duration": 1.5, "steps": 5}
                answer = await session.call_tool(
                    "trigger-long-running-operation", arguments, progress_callback=told
                )
                result = answer.content[0].text
            answer = await session.call_tool("get-sum", {"a": int(not leaves), "b": 1})
            seen[not leaves] = {"progress": progress, "result": result, "sum": answer.content[0].text}


async def main(url):
    seen = {}
    async with anyio.create_task_group() as group:
        group.start_soon(client, url, True, seen)
        group.start_soon(client, url, False, seen)
    print(json.dumps([seen[False], seen[True]]))


anyio.run(main, sys.argv[1])
