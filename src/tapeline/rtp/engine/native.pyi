from tapeline.rtp.engine.plain import address as address
from tapeline.rtp.engine.plain import free as free
from tapeline.rtp.engine.plain import give_task as give_task
from tapeline.rtp.engine.plain import inject as inject
from tapeline.rtp.engine.plain import leg_addresses as leg_addresses
from tapeline.rtp.engine.plain import leg_numbers as leg_numbers
from tapeline.rtp.engine.plain import new_bus as new_bus
from tapeline.rtp.engine.plain import new_leg as new_leg
from tapeline.rtp.engine.plain import new_player as new_player
from tapeline.rtp.engine.plain import new_shard as new_shard
from tapeline.rtp.engine.plain import new_tap as new_tap
from tapeline.rtp.engine.plain import numbers as numbers
from tapeline.rtp.engine.plain import obey as obey
from tapeline.rtp.engine.plain import parse_reports as parse_reports
from tapeline.rtp.engine.plain import parse_rtp as parse_rtp
from tapeline.rtp.engine.plain import run as run
from tapeline.rtp.engine.plain import shard_numbers as shard_numbers
from tapeline.rtp.engine.plain import take_captured as take_captured
from tapeline.rtp.engine.plain import take_tasks as take_tasks
from tapeline.rtp.engine.plain import tap_frames as tap_frames
from tapeline.rtp.engine.plain import tick as tick

COMPILED: bool
