// What the user can do something about: one line, `<what> <where>: expected ..., got ...`.
#pragma once

#include <stdexcept>

namespace sample {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace sample
