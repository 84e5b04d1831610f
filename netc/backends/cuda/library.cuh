// Functions that the generated kernels share: elementwise ops, random numbers, reductions of a block.

NETC_DEVICE int floor_div(int a, int b) {
  const int q = a / b;
  return q * b > a ? q - 1 : q;
}

// --- elementwise ops; a comparison with a NaN is false ---
NETC_DEVICE float relu(float x) { return 0.0f > x ? 0.0f : x; }
NETC_DEVICE float leaky_relu(float x, float slope) { return x > 0.0f ? x : slope * x; }
// the reference's maximum: a NaN of either operand stays
NETC_DEVICE float maximum(float x, float y) { return x > y || x != x ? x : y; }
NETC_DEVICE float minimum(float x, float y) { return x < y || x != x ? x : y; }
// the greater of a maximum so far and a candidate that counts only if it exceeds it
NETC_DEVICE float raised(float best, float x) { return x > best ? x : best; }
NETC_DEVICE float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }
NETC_DEVICE float sigmoid(float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; }
NETC_DEVICE float elu(float x, float alpha) { return x > 0.0f ? x : alpha * expm1f(x); }
NETC_DEVICE float bnll(float x) { return maximum(x, 0.0f) + log1pf(expf(-fabsf(x))); }
NETC_DEVICE float differs(float x, float value) { return truncf(x) == value ? 0.0f : 1.0f; }
NETC_DEVICE float reciprocal_or_zero(float x) { return x == 0.0f ? 0.0f : 1.0f / x; }

// --- four elements at once ---
NETC_DEVICE void unpack(float* to, float4 from) {
  to[0] = from.x;
  to[1] = from.y;
  to[2] = from.z;
  to[3] = from.w;
}

NETC_DEVICE float4 pack(const float* from) {
  float4 to;
  to.x = from[0];
  to.y = from[1];
  to.z = from[2];
  to.w = from[3];
  return to;
}

// --- Philox 4x32 with 10 rounds: the number below 2^24 of an element's position ---
NETC_DEVICE unsigned random_bits(const long long* state, unsigned stream, unsigned position) {
  const unsigned long long seed = (unsigned long long)state[0], step = (unsigned long long)state[1];
  unsigned a = position >> 2, b = stream, c = unsigned(step), d = unsigned(step >> 32);
  unsigned left = unsigned(seed), right = unsigned(seed >> 32);
#pragma unroll
  for (int turn = 0; turn < 10; ++turn) {
    const unsigned long long first = 0xD2511F53ull * a, second = 0xCD9E8D57ull * c;
    a = unsigned(second >> 32) ^ b ^ left;
    b = unsigned(second);
    c = unsigned(first >> 32) ^ d ^ right;
    d = unsigned(first);
    left += 0x9E3779B9u;
    right += 0xBB67AE85u;
  }
  const unsigned which = position & 3u;
  const unsigned word = which == 0u ? a : which == 1u ? b : which == 2u ? c : d;
  return word >> 8;
}

// --- accumulators: what a thread collects, and how two collections become one; put and get move FIELDS floats ---
struct Sum {
  static constexpr int FIELDS = 1;
  float total = 0.0f;
  NETC_DEVICE void add(float x) { total += x; }
  NETC_DEVICE void merge(const Sum& other) { total += other.total; }
  NETC_DEVICE Sum across(int mask) const {
    Sum other;
    other.total = shfl_xor(total, mask);
    return other;
  }
  template <class Memory>
  NETC_DEVICE void put(Memory& memory, int at, int step) const {
    memory[at] = total;
    (void)step;
  }
  template <class Memory>
  NETC_DEVICE void get(Memory& memory, int at, int step) {
    total = memory[at];
    (void)step;
  }
};

// the greatest element: RULE says what becomes of a maximum so far and an element
template <class RULE>
struct Extreme {
  static constexpr int FIELDS = 1;
  float best = RULE::least();
  NETC_DEVICE void add(float x) { best = RULE::greater(best, x); }
  NETC_DEVICE void merge(const Extreme& other) { add(other.best); }
  NETC_DEVICE Extreme across(int mask) const {
    Extreme other;
    other.best = shfl_xor(best, mask);
    return other;
  }
  template <class Memory>
  NETC_DEVICE void put(Memory& memory, int at, int step) const {
    memory[at] = best;
    (void)step;
  }
  template <class Memory>
  NETC_DEVICE void get(Memory& memory, int at, int step) {
    best = memory[at];
    (void)step;
  }
};

// a NaN stays
struct KeepsNan {
  static NETC_DEVICE float least() { return netc_bits_to_float(0xff800000u); }
  static NETC_DEVICE float greater(float best, float x) { return maximum(best, x); }
};
using Greatest = Extreme<KeepsNan>;

// pooling's maximum: begins at the lowest number, and a NaN never exceeds it
struct SkipsNan {
  static NETC_DEVICE float least() { return -3.402823466e+38f; }
  static NETC_DEVICE float greater(float best, float x) { return raised(best, x); }
};
using Raised = Extreme<SkipsNan>;

// mean and sum of squared distances from it (Welford, Chan), the mean relative to the first element: exact where
// numbers are far from 0
struct Moments {
  static constexpr int FIELDS = 4;
  float count = 0.0f, first = 0.0f, mean = 0.0f, squares = 0.0f;
  NETC_DEVICE void add(float x) {
    if (count == 0.0f) first = x;
    count += 1.0f;
    const float relative = x - first, distance = relative - mean;
    mean += distance / count;
    squares = fmaf(distance, relative - mean, squares);
  }
  NETC_DEVICE void merge(const Moments& other) {
    if (other.count == 0.0f) return;
    if (count == 0.0f) {
      *this = other;
      return;
    }
    const float both = count + other.count, share = other.count / both;
    const float distance = (other.first - first) + (other.mean - mean);
    mean = fmaf(distance, share, mean);
    squares += other.squares + distance * distance * count * share;
    count = both;
  }
  NETC_DEVICE float average() const { return first + mean; }
  NETC_DEVICE Moments across(int mask) const {
    Moments other;
    other.count = shfl_xor(count, mask);
    other.first = shfl_xor(first, mask);
    other.mean = shfl_xor(mean, mask);
    other.squares = shfl_xor(squares, mask);
    return other;
  }
  template <class Memory>
  NETC_DEVICE void put(Memory& memory, int at, int step) const {
    memory[at] = count;
    memory[at + step] = first;
    memory[at + 2 * step] = mean;
    memory[at + 3 * step] = squares;
  }
  template <class Memory>
  NETC_DEVICE void get(Memory& memory, int at, int step) {
    count = memory[at];
    first = memory[at + step];
    mean = memory[at + 2 * step];
    squares = memory[at + 3 * step];
  }
};

// the largest element and where it is: a NaN is larger than all; of equal ones the first, or the last
template <bool LAST>
struct Largest {
  static constexpr int FIELDS = 2;
  float best = netc_bits_to_float(0xff800000u), place = -1.0f;
  NETC_DEVICE void consider(float x, float at) {
    const bool equal = x == best || (x != x && best != best);
    const bool beyond = place < 0.0f || (LAST ? at > place : at < place);
    if (equal ? beyond : x > best || (x != x && best == best)) {
      best = x;
      place = at;
    }
  }
  NETC_DEVICE void merge(const Largest& other) {
    if (other.place >= 0.0f) consider(other.best, other.place);
  }
  NETC_DEVICE Largest across(int mask) const {
    Largest other;
    other.best = shfl_xor(best, mask);
    other.place = shfl_xor(place, mask);
    return other;
  }
  template <class Memory>
  NETC_DEVICE void put(Memory& memory, int at, int step) const {
    memory[at] = best;
    memory[at + step] = place;
  }
  template <class Memory>
  NETC_DEVICE void get(Memory& memory, int at, int step) {
    best = memory[at];
    place = memory[at + step];
  }
};

// every lane of a warp gets what the lanes collected together, to the same bits
template <class A>
NETC_DEVICE void reduce_warp(A& mine) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    // the lower lane's part comes first on both sides: sums of two commute, moments to the last bit do not
    const A other = mine.across(mask);
    if (threadIdx.x & mask) {
      A first = other;
      first.merge(mine);
      mine = first;
    } else {
      mine.merge(other);
    }
  }
}

// the same for a whole block of WARPS warps; tile holds FIELDS * WARPS floats and is free again afterwards
template <int WARPS, class A, class Tile>
NETC_DEVICE void reduce_block(A& mine, Tile& tile) {
  reduce_warp(mine);
  if (threadIdx.x % 32 == 0) mine.put(tile, threadIdx.x / 32, WARPS);
  __syncthreads();
  mine.get(tile, 0, WARPS);
  for (int warp = 1; warp < WARPS; ++warp) {
    A other;
    other.get(tile, warp, WARPS);
    mine.merge(other);
  }
  __syncthreads();
}
