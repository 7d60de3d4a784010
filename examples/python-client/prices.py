import asyncio
import os

import httpipe
import httpx


class Prices:
    async def setup(self) -> None:
        """Runs once in each worker, in the event loop that runs the calls."""
        self.client = httpx.AsyncClient(base_url=os.environ["PRICES"], timeout=5)

    async def close(self) -> None:
        await self.client.aclose()

    async def total(self, items: list[str]) -> float:
        """Adds up prices, which it asks another service for: all at once."""
        return sum(await asyncio.gather(*map(self._price, items)))

    async def _price(self, item: str) -> float:
        answer = await self.client.get("/price", params={"item": item})
        if answer.status_code == 404:
            raise httpipe.Error(f"there is no {item}", 404)
        return float(answer.raise_for_status().text)
