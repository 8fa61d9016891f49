import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * RabbitMQ's Java client as a program: a JSON array of strings per line of input is a command with its arguments,
 * answered by one line, {"answer": ...} or {"error": name of the exception, "message": ...}.
 */
public final class Client {
    interface Command {
        Object run(String[] arguments) throws Exception;
    }

    private static final int RETRY_MS = 50;

    public static void main(String[] arguments) throws Exception {
        String[] address = arguments[0].split(":");
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(address[0]);
        factory.setPort(Integer.parseInt(address[1]));
        factory.setNetworkRecoveryInterval(RETRY_MS);
        ObjectMapper json = new ObjectMapper();
        Map<String, Command> commands = new LinkedHashMap<>();
        try (Connection connection = factory.newConnection("tests")) {
            new Messages(connection).addTo(commands);
            new Recovery(factory).addTo(commands);
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
            Throwable cause = failure.getCause() == null ? failure : failure.getCause();
            answer.put("error", cause.getClass().getSimpleName());
            answer.put("message", String.valueOf(cause.getMessage()));
        }
        return answer;
    }
}
