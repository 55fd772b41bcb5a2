"""Names for Gymnasium, as in `gymnasium.make("tierloop.sim.ids:tierloop/SortPanda-v0")`.

What an environment needs is loaded when one is made.
"""

from gymnasium.envs.registration import register

register(id="tierloop/SortPanda-v0", entry_point="tierloop.sim.env:SortEnv")
