"""Several processes that train one model (chapter 15)."""

from transformer_lib.distributed.trainer import ParallelTrainer, barrier, processes, shard, shard_batch

__all__ = ["ParallelTrainer", "barrier", "processes", "shard", "shard_batch"]
