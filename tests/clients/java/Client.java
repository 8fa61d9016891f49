import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;

/**
 * Kafka's Java client as a program: a JSON array of strings per line of input is a command with its arguments,
 * answered by one line, {"answer": ...} or {"error": name of the exception, "message": ...}.
 */
public final class Client {
    interface Command {
        Object run(String[] arguments) throws Exception;
    }

    static final int TIMEOUT_MS = 20_000;

    static Properties settings(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("request.timeout.ms", TIMEOUT_MS);
        settings.put("default.api.timeout.ms", 2 * TIMEOUT_MS);
        return settings;
    }

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        ObjectMapper json = new ObjectMapper();
        Map<String, Command> commands = new LinkedHashMap<>();
        try (Admin admin = Admin.create(settings(bootstrap))) {
            new Administration(admin).addTo(commands);
            new Records(bootstrap).addTo(commands);
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                List<?> words = json.readValue(line, List.class);
                String[] rest = words.subList(1, words.size()).toArray(new String[0]);
                System.out.println(json.writeValueAsString(answer(commands.get(words.get(0)), rest)));
            }
        }
    }

    private static Map<String, Object> answer(Command command, String[] arguments) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put("answer", command.run(arguments));
        } catch (Exception failure) {
            Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
            answer.put("error", cause.getClass().getSimpleName());
            answer.put("message", String.valueOf(cause.getMessage()));
        }
        return answer;
    }
}
