"""Names for Gymnasium: `gymnasium.make("sim.ids:tierloop/SortPanda-v0")` imports this, and then it.

What an environment needs is loaded when one is made.
"""

from gymnasium.envs.registration import register

register(id="tierloop/SortPanda-v0", entry_point="sim.env:SortEnv")
