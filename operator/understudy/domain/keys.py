"""What an access key's Secret may say of its requests' priority: the command writes it, gateways go by it."""

from typing import Final

LOWEST: Final = 0
HIGHEST: Final = 9
USUAL: Final = 5
