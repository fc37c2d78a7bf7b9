import tandem

INPUTS = ["text_negatives", "image_view2", "teacher_image", "teacher_text", "groups", "image_tokens", "text_tokens"]


def compute(x, p, config):
    import torch

    scale, positives = p.logit_scale.exp(), (x.groups[:, None] == x.groups[None, :]).float()

    def find(a, c):  # mean over the positives of each row
        log_p = torch.log_softmax(scale * a @ c.T, dim=1)[:, : len(positives)]
        return -(log_p * positives).sum(1) / positives.sum(1)

    def apart(a, teacher):
        return (a @ a.T - teacher @ teacher.T).square().sum(1)

    def mean(tokens, lengths):
        return tokens.sum(1) / lengths[:, None]

    parts = {
        "pairs": find(x.image, torch.cat([x.text, x.text_negatives])), "views": find(x.image, x.image_view2),
        "teachers": apart(x.image, x.teacher_image) + apart(x.text, x.teacher_text),
        "tokens": find(mean(x.image_tokens, x.image_tokens_lengths), mean(x.text_tokens, x.text_tokens_lengths))}
    return sum(v.mean() for v in parts.values()), parts


tandem.serve(tandem.Loss("everything", compute, inputs=INPUTS, params={"logit_scale": 1.0}, summary="a loss of every input, by autograd"))
