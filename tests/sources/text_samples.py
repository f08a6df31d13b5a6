"""A few lines of every trainer that prints, and the rows they mean."""

from __future__ import annotations

import math

BAR = "\r {0}%|###       | {0}/100 [00:0{1}<01:00,  9.87it/s]"
CLEAR = "\r" + " " * 60 + "\r"


def hugging_face(dicts: list[tuple[int, str]], total: int = 100) -> str:
    """What `tqdm.write` makes of dicts that were logged at these steps: bars before and after, cleared lines."""
    text, begun = "Map: 100%|####| 50/50 [00:01<00:00, 30.1it/s]\n", 0
    for step, line in dicts:
        for drawn in range(begun, max(begun, step - 1)):  # the last one is often skipped: bars lag
            text += f"\r {drawn}%|#    | {drawn}/{total} [00:01<00:09,  9.87it/s]"
        text += f"{CLEAR}{line}\n\n\r {step}%|#    | {step}/{total} [00:01<00:09,  9.87it/s]"
        begun = step + 1
    return text + "\n"


HF4 = hugging_face(
    [
        (10, "{'loss': 2.3457, 'grad_norm': 1.25, 'learning_rate': 2e-05, 'epoch': 0.1}"),
        (20, "{'loss': nan, 'grad_norm': nan, 'learning_rate': 0.0, 'epoch': 0.2}"),
        (20, "{'eval_loss': 2.1, 'eval_runtime': 1.5, 'eval_samples_per_second': 30.2, 'epoch': 0.2}"),
    ]
)
HF5 = hugging_face(
    [
        (10, "{'loss': '2.346', 'grad_norm': 'nan', 'learning_rate': '2e-05', 'epoch': '0.1'}"),
        (20, "{'loss': '2.1', 'memory/max_active (GiB)': '11.2', 'ppl': 'inf', 'epoch': '0.2'}"),
    ]
)
MEGATRON = """\
 [2026-11-21 07:38:01.123456] iteration       10/    1000 | consumed samples:          640 | elapsed time per \
iteration (ms): 500.0 | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 3.000000E-04 | global batch size:\
    64 | lm loss: 2.345000E+00 | loss scale: 1.0 | grad norm: 1.234 | number of skipped iterations:   0 | number of \
nan iterations:   0 |
 [2026-11-21 07:38:06.123456] iteration       20/    1000 | learning rate: 3.000000E-04 | loss scale: 1.0 | number \
of skipped iterations:   0 | number of nan iterations:   3 |
--------------------------------------------------------------------------------------------------
 validation loss at iteration 20 | lm loss value: 2.300000E+00 | lm loss PPL: 9.974182E+00 |
--------------------------------------------------------------------------------------------------
"""
NANOGPT = """\
tokens per iteration will be: 491,520
step 0: train loss 10.9886, val loss 10.9897
iter 0: loss 10.9733, time 31264.63ms, mfu -100.00%
iter 10: loss 10.3218, time 250.00ms, mfu 22.83%
"""
NANOCHAT = """\
step 00007/00100 (7.00%) | loss: 2.100000 | lrm: 1.00 | dt: 500.00ms | tok/sec: 1,234,567 | bf16_mfu: 41.20 | epoch: 1\
 | total time: 1.00m | eta: 4.5m
Step 00007 | Validation bpb: 0.812300
Step 00007 | CORE metric: 0.1234
step 00008 (8.00%) | loss: 2.000000 | lrm: 1.00 | dt: 500.00ms | tok/sec: 1,234,567 | mfu: 41.20 | epoch: 1
"""
NANOCHAT_RL = """\
Step 3/100 | Average reward: 0.25 | Average sequence length: 210.50
Step 4 | Pass@1: 0.2500, Pass@8: 0.5000
"""
MODDED = """\
step:0/1390 val_loss:10.8258 train_time:0ms step_avg:nanms
step:1/1390 train_loss:10.8258 train_time:87786ms step_avg:nanms
step:2/1390 train_time:33ms step_avg:33.13ms
step:10/1390, tokens seen:5.83M, avg_train_loss:6.5419 time:122/649s step_avg:130ms
"""
LLMC_LOG = "s:0 tel:11.0092\ns:0 trl:11.0091 lr:0.000001 norm:15.37\ns:250 eval:0.2500\n"
LLMC = """\
step    1/19560 | loss 10.954871 (+nanz)| norm 15.3625 (+nanz)| lr 1.00e-06 | 500.00 ms | 54.1% bf16 MFU | 157900 tok/s
val loss 10.812345
"""
TORCHTUNE = """\
Step 12 | loss:1.25 lr:2e-05 tokens_per_second_per_gpu:4000.5 peak_memory_alloc:10.5 grad_norm:tensor(1.5)\x20
Step 13 | loss:tensor(nan, device='cuda:0') lr:2e-05\x20
"""
VERL = """\
\x1b[36m(TaskRunner pid=1234)\x1b[0m step:3 - actor/pg_loss:0.01 - actor/lr:1e-06 - critic/score/mean:np.float64(0.5)
\x1b[36m(TaskRunner pid=1234)\x1b[0m step:4 - actor/pg_loss:nan - val-core/gsm8k/acc/mean@1:0.75
"""
TQDM = (
    "Training:   0%|          | 0/100 [00:33<?, ?it/s]"
    "\rTraining:   0%|          | 0/100 [00:33<?, ?it/s, loss=11.0084, lr=1.00e-07, mfu=-100.0%]"
    "\rTraining:   1%|          | 1/100 [00:33<19:45, 33.11s/it, loss=11.0084, lr=1.00e-07, mfu=-100.0%]"
    "\rTraining:   1%|          | 1/100 [00:38<19:45,  2.00s/it, loss=10.9870, lr=1.00e-07, mfu=40.0%]"
    "\rTraining:   2%|          | 2/100 [00:38<19:45,  2.00s/it, loss=10.9870, lr=1.00e-07, mfu=40.0%]\n"
)
LIGHTNING = (
    "Epoch 0:  50%|#####     | 50/100 [00:05<00:05, 10.00it/s, v_num=3, train_loss=2.30]\r"
    "Epoch 0: 100%|##########| 100/100 [00:10<00:00, 10.00it/s, v_num=3, train_loss=2.20]\r"
    "Epoch 1:  50%|#####     | 50/100 [00:05<00:05, 10.00it/s, v_num=3, train_loss=2.10]\r\n"
)
KERAS = (
    "Epoch 1/3\n"
    "\r 1/10 ━━━━━━━━━━━━━━━━━━━━ 5s 500ms/step - accuracy: 0.1000 - loss: 2.3000\x08\x08\x08"
    "\r10/10 ━━━━━━━━━━━━━━━━━━━━ 5s 50ms/step - accuracy: 0.5000 - loss: 1.3000 - val_accuracy: 0.4 - val_loss: 1.5\n"
    "Epoch 2/3\n"
    "10/10 - 5s - 50ms/step - accuracy: 0.6000 - loss: 1.1000 - val_accuracy: 0.5000 - val_loss: 1.4000\n"
)
EPOCHS = """\
Epoch [80/500], Train Loss: 0.0155, Train L1 Loss: 0.6588
Epoch [80/500], Validation Loss: 0.0146, Smoothed Validation Loss: 10.6092
Epoch [81/500], Train Loss: 0.0149, Train L1 Loss: 0.6422
"""
PAIRS = """\
[2026-11-21 07:38:01] INFO step=100 loss=2.3 lr=1e-4
[2026-11-21 07:38:02] INFO step=200 loss=nan lr=1e-4
"""
TUTORIAL = """\
Epoch [1/2], Step [100/600], Loss: 2.3000
Epoch [1/2], Step [600/600], Loss: 2.1000
Epoch [2/2], Step [100/600], Loss: 2.0000
"""
MNIST = """\
Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.300000
Train Epoch: 1 [640/60000 (1%)]\tLoss: 1.100000
Train Epoch: 2 [0/60000 (0%)]\tLoss: 0.900000
"""

LITGPT = "Epoch 1 | iter 100 step 21 | loss train: 1.250, val: n/a | iter time: 120.25 ms (step)\n"
FAIRSEQ = (
    '2026-11-21 07:38:01 | INFO | train_inner | {"epoch": 1, "loss": "10.5", "ppl": "1448.2", "num_updates": "100"}\n'
)
IMAGENET = """\
Epoch: [0][  10/5004]\tTime  0.512 ( 0.600)\tLoss 6.9000e+00 (7.0000e+00)
Epoch: [1][  10/5004]\tTime  0.512 ( 0.600)\tLoss 5.9000e+00 (6.0000e+00)
"""
TENSORFLOW = "INFO:tensorflow:loss = 2.25, step = 100 (0.512 sec)\n"
DEEPSPEED = "steps: 10 loss: 8.5000 iter time (s): 0.512 samples/sec: 100.250\n"

NAN = math.nan
SAMPLES: dict[str, tuple[str, str, list[tuple[int, dict[str, float]]]]] = {
    "hf4": (
        HF4,
        "Hugging Face Trainer",
        [
            (10, {"loss": 2.3457, "grad_norm": 1.25, "learning_rate": 2e-05, "epoch": 0.1, "total_steps": 100.0}),
            (20, {"loss": NAN, "grad_norm": NAN, "learning_rate": 0.0, "epoch": 0.2, "total_steps": 100.0}),
            (20, {"eval_loss": 2.1, "eval_runtime": 1.5, "eval_samples_per_second": 30.2, "epoch": 0.2}),
        ],
    ),
    "hf5": (
        HF5,
        "Hugging Face Trainer",
        [
            (10, {"loss": 2.346, "grad_norm": NAN, "learning_rate": 2e-05, "epoch": 0.1, "total_steps": 100.0}),
            (20, {"loss": 2.1, "memory/max_active (GiB)": 11.2, "perplexity": math.inf, "epoch": 0.2}),
        ],
    ),
    "megatron": (
        MEGATRON,
        "Megatron-LM",
        [
            (
                10,
                {"loss": 2.345, "learning_rate": 3e-4, "grad_norm": 1.234, "steps_per_sec": 2.0, "total_steps": 1000.0},
            ),
            (20, {"loss": NAN, "number of nan iterations": 3.0, "total_steps": 1000.0}),
            (20, {"eval_loss": 2.3, "eval_perplexity": 9.974182}),
        ],
    ),
    "nanogpt": (
        NANOGPT,
        "nanoGPT",
        [
            (0, {"eval_train_loss": 10.9886, "eval_loss": 10.9897}),
            (0, {"loss": 10.9733, "time_ms": 31264.63}),
            (10, {"loss": 10.3218, "mfu": 22.83, "steps_per_sec": 4.0}),
        ],
    ),
    "nanochat": (
        NANOCHAT,
        "nanochat",
        [
            (7, {"loss": 2.1, "tokens_per_sec": 1234567.0, "dt_ms": 500.0, "bf16_mfu": 41.2, "total_steps": 100.0}),
            (7, {"val_bpb": 0.8123}),
            (7, {"core_metric": 0.1234}),
            (8, {"loss": 2.0, "mfu": 41.2}),
        ],
    ),
    "nanochat-rl": (
        NANOCHAT_RL,
        "nanochat",
        [(3, {"reward": 0.25, "sequence_length": 210.5, "total_steps": 100.0}), (4, {"pass@1": 0.25, "pass@8": 0.5})],
    ),
    "modded": (
        MODDED,
        "modded-nanogpt",
        [
            (0, {"eval_loss": 10.8258, "train_time": 0.0, "total_steps": 1390.0}),
            (1, {"loss": 10.8258, "train_time": 87786.0}),
            (2, {"train_time": 33.0, "step_avg": 33.13}),
            (10, {"loss": 6.5419, "tokens_seen": 5.83e6}),
        ],
    ),
    "llmc-log": (
        LLMC_LOG,
        "llm.c main.log",
        [(0, {"eval_loss": 11.0092}), (0, {"loss": 11.0091, "grad_norm": 15.37}), (250, {"eval": 0.25})],
    ),
    "llmc": (
        LLMC,
        "llm.c",
        [
            (1, {"loss": 10.954871, "grad_norm": 15.3625, "learning_rate": 1e-6, "tokens_per_sec": 157900.0}),
            (1, {"eval_loss": 10.812345}),
        ],
    ),
    "torchtune": (
        TORCHTUNE,
        "torchtune",
        [(12, {"loss": 1.25, "grad_norm": 1.5, "gpu_memory_mb": 10752.0}), (13, {"loss": NAN, "learning_rate": 2e-5})],
    ),
    "verl": (
        VERL,
        "verl",
        [
            (3, {"actor/pg_loss": 0.01, "learning_rate": 1e-6, "critic/score/mean": 0.5}),
            (4, {"actor/pg_loss": NAN, "val-core/gsm8k/acc/mean@1": 0.75}),
        ],
    ),
    "tqdm": (
        TQDM,
        "progress bars (tqdm)",
        [(0, {"loss": 11.0084, "learning_rate": 1e-7}), (1, {"loss": 10.987, "mfu": 40.0, "steps_per_sec": 0.5})],
    ),
    "lightning": (
        LIGHTNING,
        "progress bars (tqdm)",
        [(50, {"loss": 2.3, "epoch": 0.0}), (100, {"loss": 2.2}), (150, {"loss": 2.1, "epoch": 1.0})],
    ),
    "keras": (
        KERAS,
        "Keras",
        [
            (10, {"loss": 1.3, "eval_loss": 1.5, "epoch": 1.0, "total_steps": 30.0}),
            (20, {"loss": 1.1, "eval_loss": 1.4}),
        ],
    ),
    "epochs": (
        EPOCHS,
        "lines with a step and a loss",
        [
            (80, {"loss": 0.0155, "train_l1_loss": 0.6588, "total_steps": 500.0}),
            (80, {"eval_loss": 0.0146, "smoothed_validation_loss": 10.6092}),
            (81, {"loss": 0.0149, "epoch": 81.0}),
        ],
    ),
    "pairs": (
        PAIRS,
        "lines with a step and a loss",
        [(100, {"loss": 2.3, "learning_rate": 1e-4}), (200, {"loss": NAN, "learning_rate": 1e-4})],
    ),
    "tutorial": (
        TUTORIAL,
        "lines with a step and a loss",
        [(100, {"loss": 2.3}), (600, {"loss": 2.1}), (700, {"loss": 2.0})],
    ),
    "litgpt": (LITGPT, "lines with a step and a loss", [(21, {"loss": 1.25})]),
    "fairseq": (FAIRSEQ, "lines with a step and a loss", [(100, {"loss": 10.5, "perplexity": 1448.2, "epoch": 1.0})]),
    "imagenet": (IMAGENET, "lines with a step and a loss", [(10, {"loss": 6.9}), (5014, {"loss": 5.9})]),
    "tensorflow": (TENSORFLOW, "lines with a step and a loss", [(100, {"loss": 2.25})]),
    "deepspeed": (DEEPSPEED, "lines with a step and a loss", [(10, {"loss": 8.5, "samples/sec": 100.25})]),
    "mnist": (
        MNIST,
        "lines with a step and a loss",
        [(0, {"loss": 2.3}), (640, {"loss": 1.1}), (60000, {"loss": 0.9})],
    ),
}
"""Name -> (what is printed, the dialect, the rows: each at least these metrics)."""
