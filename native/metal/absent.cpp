// What metal_backend.h promises, for builds without Metal.
#include "../core/error.h"
#include "../core/self_test.h"
#include "metal_backend.h"

namespace hearth::metal {

namespace {
constexpr const char* kReason = "this build has no Metal, which only Macs with Apple silicon have";
}

bool in_this_build() { return false; }

Probe probe() { return {"", kReason}; }

std::unique_ptr<Backend> make_backend(const Model&, RopeMode, bool) { fail("%s", kReason); }

void self_test(const SelfTestOptions&) { fail("%s", kReason); }

}  // namespace hearth::metal
