// The classes of a folder's pictures, by a compiled model: pictures -> preprocessing -> scores -> files.
// Exit codes as of the `alula` command: 0 done, 1 a picture could not be predicted, 2 wrong usage or unusable input.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>

#include "error.hpp"
#include "model.hpp"
#include "options.hpp"
#include "pictures.hpp"
#include "preprocess.hpp"
#include "results.hpp"

namespace {

using sample::Error;

int64_t chosen_batch(const alula_description& model, int asked) {
    const int64_t batch = asked ? asked : model.tuned_batch;
    if (batch < model.least_batch || batch > model.most_batch) {
        throw Error("batch size: expected " + std::to_string(model.least_batch) + " to " +
                    std::to_string(model.most_batch) + " for this model, got " + std::to_string(batch));
    }
    return batch;
}

// Pictures whose inputs wait for a run, and what came of those that had one.
class Run {
public:
    Run(const sample::Model& model, sample::Results& results, const std::vector<std::string>& names, int64_t batch)
        : model_(model), results_(results), names_(names), batch_(batch) {}

    // A picture that cannot be read takes no place: it is named, and no stale pixels stand in for it.
    void add(const std::string& folder, const sample::Picture& picture) {
        try {
            const sample::Image image = sample::decoded(folder, picture);
            inputs_.resize((waiting_.size() + 1) * model_.input_bytes());
            sample::preprocess(image, *model_.description().image, inputs_.data() + waiting_.size() * model_.input_bytes());
            waiting_.push_back(picture);
        } catch (const Error& error) {
            inputs_.resize(waiting_.size() * model_.input_bytes());
            fail(error.what());
        }
        if (static_cast<int64_t>(waiting_.size()) == batch_) {
            flush();
        }
    }

    // A model of a fixed batch gets its missing rows as zeros, and what it says of them is dropped.
    void flush() {
        if (waiting_.empty()) {
            return;
        }
        const int64_t rows = std::max<int64_t>(static_cast<int64_t>(waiting_.size()), model_.description().least_batch);
        inputs_.resize(static_cast<size_t>(rows) * model_.input_bytes());
        const auto began = std::chrono::steady_clock::now();
        const std::vector<float> scores = model_.scores(inputs_, rows);
        compute_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        for (size_t row = 0; row < waiting_.size(); ++row) {
            const float* own = scores.data() + row * model_.classes();
            if (std::any_of(own, own + model_.classes(), [](float score) { return std::isnan(score); })) {
                fail("picture " + waiting_[row].name + ": expected finite scores, got nan");
                continue;
            }
            results_.add(waiting_[row], own, model_.classes(), names_);
            ++predicted_;
        }
        waiting_.clear();
        inputs_.clear();
    }

    int predicted() const { return predicted_; }
    int failed() const { return failed_; }
    double compute_s() const { return compute_s_; }

private:
    void fail(const std::string& reason) {
        std::cerr << "error: " << reason << std::endl;
        ++failed_;
    }

    const sample::Model& model_;
    sample::Results& results_;
    const std::vector<std::string>& names_;
    int64_t batch_;
    std::vector<sample::Picture> waiting_;
    std::vector<uint8_t> inputs_;
    int predicted_ = 0, failed_ = 0;
    double compute_s_ = 0;
};

int infer(const sample::Options& options) {
    const sample::Model model(options.magicmind_model);
    const alula_description& about = model.description();
    const int64_t batch = chosen_batch(about, options.batch_size);
    const std::vector<sample::Picture> pictures = sample::listed(options.label_file, options.image_num);
    const std::vector<std::string> names =
        options.name_file.empty() ? std::vector<std::string>() : sample::class_names(options.name_file);
    if (!names.empty() && names.size() != model.classes()) {
        throw Error("name file: expected " + std::to_string(model.classes()) +
                    " names, one for each class of the model, got " + std::to_string(names.size()));
    }
    sample::Results results(options.result_file, options.result_label_file, options.result_top1_file,
                            options.result_top5_file);
    std::cout << "model     " << about.name << ", " << about.precision << " on " << about.target << ", batch " << batch
              << ", " << model.threads() << " threads" << std::endl;
    Run run(model, results, names, batch);
    const auto began = std::chrono::steady_clock::now();
    for (const sample::Picture& picture : pictures) {
        run.add(options.image_dir, picture);
    }
    run.flush();
    results.close();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::cout << "images    " << pictures.size() << " listed = " << run.predicted() << " predicted + " << run.failed()
              << " failed\n"
              << "speed     " << run.predicted() / seconds << " images/s, decoding included (" << seconds << " s, "
              << run.compute_s() << " s of them in the model)" << std::endl;
    return run.failed() ? 1 : 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        const sample::Options options = sample::parsed(count, words);
        if (options.help) {
            std::cout << sample::usage();
            return 0;
        }
        return infer(options);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << std::endl;
        return 2;
    }
}
