// A compiled model, loaded when its name is known: the library that `alula compile` made, and a session on its weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alula.h"

namespace sample {

// A classifier: one input of pictures, one output of a float32 score for each class.
class Model {
public:
    // `path` is the model file; the library lies beside it as lib<name>.so.  Reads and checks the whole file.  Throws
    // Error.
    explicit Model(const std::string& path);

    const alula_description& description() const { return *description_; }
    size_t input_bytes() const { return static_cast<size_t>(description_->inputs[0].bytes); }
    size_t classes() const { return static_cast<size_t>(description_->outputs[0].bytes) / sizeof(float); }
    int threads() const { return threads_; }

    // scores[batch][classes] of inputs[batch].  Throws Error.
    std::vector<float> scores(const std::vector<uint8_t>& inputs, int64_t batch) const;

private:
    std::unique_ptr<void, int (*)(void*)> library_;  // outlives the session: its code is in there
    const alula_description* description_ = nullptr;
    std::unique_ptr<alula_session, decltype(&alula_session_destroy)> session_{nullptr, nullptr};
    decltype(&alula_session_run) run_ = nullptr;
    int threads_ = 0;
};

}  // namespace sample
