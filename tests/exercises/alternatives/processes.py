"""Right answers in other styles."""

ALTERNATIVES = {
    "processes.hand": [
        """
        def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
            mine = [i for i in range(len(src_ids)) if i % workers == rank]
            if not mine:
                return src_ids[0:1], tgt_ids[0:1] * 0 + pad_id
            return src_ids[mine], tgt_ids[mine]
        """,
        """
        def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
            mine = torch.arange(len(src_ids)) % workers == rank
            if mine.any():
                return src_ids[mine], tgt_ids[mine]
            return src_ids[:1].clone(), tgt_ids[:1].clone().fill_(pad_id)
        """,
        """
        def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
            from transformer_lib.data.batches import Batch
            from transformer_lib.distributed import shard_batch
            return shard_batch(Batch(src_ids, tgt_ids), rank, workers, pad_id)
        """,
    ],
    "processes.loss": [
        """
        def my_loss(total, number, all_reduce, workers):
            return total * workers / all_reduce(number)
        """,
        """
        def my_loss(total, number, all_reduce, workers):
            mean_number = all_reduce(number / workers)
            return torch.div(total, mean_number)
        """,
        """
        def my_loss(total, number, all_reduce, workers):
            sums = all_reduce(torch.stack([total.detach(), number]))
            scale = workers / sums[1].item()
            return total.double() * scale
        """,
        """
        def my_loss(total, number, all_reduce, workers):
            share = number / all_reduce(number)
            own_mean = total / number.clamp(min=1)
            return own_mean * share * workers
        """,
    ],
    "processes.clip": [
        """
        def my_clipped(shard, limit, all_reduce):
            length = math.sqrt(all_reduce((shard * shard).sum()))
            return shard * (limit / length) if length > limit else shard
        """,
        """
        def my_clipped(shard, limit, all_reduce):
            length = all_reduce(shard.norm() ** 2) ** 0.5
            return shard * limit / length.clamp(min=limit)
        """,
        """
        def my_clipped(shard, limit, all_reduce):
            squares = torch.einsum("i,i->", shard.double(), shard.double())
            length = all_reduce(squares).sqrt()
            return shard.double() * min(1.0, limit / (float(length) + 1e-6))
        """,
    ],
}
