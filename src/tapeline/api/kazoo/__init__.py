"""KAZOO's face: Crossbar's API under /v2."""
