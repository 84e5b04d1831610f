"""RNN, LSTM and LSTMUnit against loops in NumPy."""

import numpy as np
import pytest

T, N, D, H = 4, 3, 5, 2
RNG = np.random.default_rng(8)
X = RNG.normal(size=(T, N, D)).astype("f4")
STATIC = RNG.normal(size=(N, 3)).astype("f4")
CONT = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 0]], "f4")


def recurrent(kind: str, bottoms: str = "x cont", tops: str = "y", more: str = "") -> str:
    names = " ".join([f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()])
    return f'layer {{ name: "r" type: "{kind}" {names} recurrent_param {{ num_output: {H} {more} }} }}'


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(params, h, c, static=None):
    w_x, b, *w_s, w_h = params
    outputs = []
    for t in range(T):
        cont = CONT[t][:, np.newaxis]
        gates = X[t] @ w_x.T + b + (cont * h) @ w_h.T
        if w_s:
            gates = gates + static @ w_s[0].T
        i, f, o, g = np.split(gates, 4, axis=1)
        c = cont * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), h[np.newaxis], c[np.newaxis]


def lstm_params(*static):
    shapes = [(4 * H, D), (4 * H,), *((4 * H, s) for s in static), (4 * H, H)]
    return tuple(RNG.normal(size=s).astype("f4") for s in shapes)


def test_an_lstm_is_a_loop_over_time(run_layer):
    params = lstm_params()
    (y,) = run_layer(recurrent("LSTM"), params, x=X, cont=CONT)
    np.testing.assert_allclose(y, lstm(params, np.zeros((N, H)), np.zeros((N, H)))[0], rtol=1e-5, atol=1e-6)


def test_an_lstm_with_a_static_input_and_exposed_states(run_layer):
    params = lstm_params(3)
    h0, c0 = RNG.normal(size=(2, 1, N, H)).astype("f4")
    text = recurrent("LSTM", "x cont s h0 c0", "y hT cT", "expose_hidden: true")
    given = run_layer(text, params, x=X, cont=CONT, s=STATIC, h0=h0, c0=c0)
    for got, want in zip(given, lstm(params, h0[0], c0[0], STATIC), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("static", [False, True])
def test_an_rnn_is_a_loop_over_time(run_layer, static):
    shapes = [(H, D), (H,), *([(H, 3)] if static else []), (H, H), (H, H), (H,)]
    params = tuple(RNG.normal(size=s).astype("f4") for s in shapes)
    w_x, b_h, *w_s, w_h, w_o, b_o = params
    h, outputs = np.zeros((N, H)), []
    for t in range(T):
        add = STATIC @ w_s[0].T if static else 0
        h = np.tanh(X[t] @ w_x.T + b_h + (CONT[t][:, np.newaxis] * h) @ w_h.T + add)
        outputs.append(np.tanh(h @ w_o.T + b_o))
    inputs = {"x": X, "cont": CONT, **({"s": STATIC} if static else {})}
    (y,) = run_layer(recurrent("RNN", "x cont s" if static else "x cont"), params, **inputs)
    np.testing.assert_allclose(y, np.stack(outputs), rtol=1e-5, atol=1e-6)


def test_hidden_states_that_are_not_exposed_last_until_the_next_run(imported):
    net = imported(recurrent("LSTM"), x=X.shape, cont=CONT.shape)
    assert [(s.value.name, s.next) for s in net.states] == [("r.h", "r.h.next"), ("r.c", "r.c.next")]
    assert net.carried == net.states
    exposed = recurrent("LSTM", "x cont h c", "y a b", "expose_hidden: true")
    state = (1, N, H)
    assert imported(exposed, x=X.shape, cont=CONT.shape, h=state, c=state).states == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (recurrent("RNN").replace("num_output: 2", "num_output: @0"), "num_output must be at least 1, got 0"),
        (recurrent("LSTM", "x c2").replace('"c2"', '@"c2"'), "the second bottom, cont, must be 4x3, got 3x4"),
        (recurrent("LSTM", "c2 cont").replace('"c2"', '@"c2"'),
         "needs an input (T, N, ...) with a fixed number of time steps T, got 3x4"),
        (recurrent("LSTM", "x cont", "y z").replace('top: "y"', 'top: @"y"'), "needs 1 top, got 2"),
        (recurrent("LSTM", "x cont c2").replace('"c2"', '@"c2"'), None),
        (recurrent("LSTM", "x cont", "y h c", "expose_hidden: true").replace('"x"', '@"x"'),
         "needs 4 or 5 bottoms, got 2"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_an_error_at_its_field(error_of, imported, text, message):
    shapes = {"x": X.shape, "cont": CONT.shape, "c2": (N, T)}
    if message is None:  # three rows, as many as the batch: a static input
        imported(text.replace("@", ""), **shapes)
    else:
        assert error_of(text, **shapes) == message


def test_an_lstm_unit_forgets_where_a_sequence_begins(run_layer):
    c, gates = RNG.normal(size=(1, N, H)), RNG.normal(size=(1, N, 4 * H))
    text = 'layer { type: "LSTMUnit" bottom: "c" bottom: "g" bottom: "cont" top: "c2" top: "h2" }'
    cell, hidden = run_layer(text, c=c, g=gates, cont=[[0, 1, 1]])
    i, f, o, g = np.split(gates, 4, axis=2)
    kept = np.array([0, 1, 1]).reshape(1, 3, 1) * sigmoid(f) * c
    np.testing.assert_allclose(cell, kept + sigmoid(i) * np.tanh(g), rtol=1e-5)
    np.testing.assert_allclose(hidden, sigmoid(o) * np.tanh(cell), rtol=1e-5)


def test_an_lstm_unit_with_wrong_gates_is_an_error(error_of):
    text = 'layer { type: "LSTMUnit" bottom: "c" bottom: @"g" bottom: "cont" top: "c2" top: "h2" }'
    assert (
        error_of(text, c=(1, 3, 2), g=(1, 3, 7), cont=(1, 3))
        == "expected 1x3x8 for a cell of 1x3x2, got 1x3x7"
    )


def test_a_plain_lstm_is_a_loop_over_one_sequence(run_layer):
    w_x, b, w_h = lstm_params()
    text = f'layer {{ name: "r" type: "Lstm" bottom: "x" top: "y" lstm_param {{ num_output: {H} }} }}'
    (y,) = run_layer(text, params=(w_x, w_h, b), x=X)
    h, c = np.zeros((N, H)), np.zeros((N, H))
    for t in range(T):
        i, f, o, g = np.split(X[t] @ w_x.T + b + h @ w_h.T, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(y[t], h, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bottom", ["", 'bottom: "x"'])
def test_continuation_indicators_are_0_at_the_first_step_only(run_layer, bottom):
    settings = f"continuation_indicator_param {{ time_step: {T} batch_size: {N} }}"
    text = f'layer {{ name: "c" type: "ContinuationIndicator" {bottom} top: "y" {settings} }}'
    found = run_layer(text, x=X)[-1]
    np.testing.assert_array_equal(found, [[0] * N, *[[1] * N] * (T - 1)])
